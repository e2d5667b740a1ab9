"""Measures the speed of wheels, side by side in one run, and checks it against limits."""
