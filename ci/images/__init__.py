"""Finds or makes the base images of Lambda's Pythons."""
