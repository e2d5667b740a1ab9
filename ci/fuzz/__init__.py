"""Fuzzers: hypothesis makes hostile inputs for the code that must withstand them."""
