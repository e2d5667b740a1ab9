"""How fast wheels are, side by side in one run, and what their speed is held to."""
