"""Decides whether a photo shows the product of a drawing: compares the vectors that a network makes of both."""
