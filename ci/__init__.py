"""What CI and maintainers run: whole builds, the tests."""
