"""Inputs of strangers, made by hypothesis, for what must withstand them."""
