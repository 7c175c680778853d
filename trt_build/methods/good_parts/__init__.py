"""What the methods share that learn from good parts alone."""
