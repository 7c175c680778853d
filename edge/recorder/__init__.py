"""Keeps pictures of parts, and a black box of the last parts that is written to a file after a fault."""
