"""The modules here pack wheels and what they need as AWS Lambda layers."""
