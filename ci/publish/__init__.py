"""Publishing: the content of `wheels/`, how files get there, and how they are verified."""
