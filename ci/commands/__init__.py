"""The scripts: the module of each name parses arguments, calls other modules, and prints."""
