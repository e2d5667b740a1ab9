"""The modules here decide what a CI service does: which jobs it runs, and whether they passed."""
