"""Starts a line as one process for each stage, watches these processes and restarts them."""
