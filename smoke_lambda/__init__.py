"""The smoke test: a wheel is installed as in Lambda and answers inference requests."""
