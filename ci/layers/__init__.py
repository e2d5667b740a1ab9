"""Packs wheels and the packages that they need as AWS Lambda layers."""
