"""The modules here write the pages, texts and pins that follow from the repository's data."""
