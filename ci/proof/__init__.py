"""Run wheels, judge their results, and show the reports."""
