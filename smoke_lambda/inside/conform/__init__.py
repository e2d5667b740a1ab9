"""The part of the comparison that runs beside a wheel."""

MARK = "conform: "
"""The prefix of each line that the programs of this package print themselves."""
