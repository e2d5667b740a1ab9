"""Both engines of the core side by side: the same bytes, and how long each of them takes."""
