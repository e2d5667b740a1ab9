"""Decisions for a CI service: which jobs it runs, and whether they passed."""
