"""The four stages of a line, and what they have in common."""
