"""The modules here run wheels, judge what these do, and show what was found."""
