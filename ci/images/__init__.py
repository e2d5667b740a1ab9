"""The modules here find or make the base images of Lambda's Pythons."""
