"""Compare the engines that compile a core: check that the bytes are equal, and time each engine."""
