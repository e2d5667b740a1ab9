"""Makes a user's own Lambda function from a model: handler, image, template, events and tests."""
