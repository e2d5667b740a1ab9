"""Publishing: what is in `wheels/`, how it gets there, and how it is verified."""
