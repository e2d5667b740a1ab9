"""Writes the pages, texts and pins that are made from the repository's data."""
