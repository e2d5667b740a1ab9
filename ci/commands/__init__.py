"""Each module here is the script of its name: it parses arguments, calls, and prints."""
