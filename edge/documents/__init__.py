"""Reads the documents that people write, such as recipes, and explains the mistakes in them."""
