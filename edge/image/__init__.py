"""Finds how the part in a frame lies against its master, and warps the frame into a model's input."""
