"""A user's own Lambda function, made from a model: handler, image, template, events and tests."""
