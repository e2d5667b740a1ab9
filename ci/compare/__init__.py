"""Which runtime a function should have: the same network in each, side by side."""
