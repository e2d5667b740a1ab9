"""The comparison's part that runs beside a wheel."""

MARK = "conform: "
"""Begins the lines that its programs print of their own."""
