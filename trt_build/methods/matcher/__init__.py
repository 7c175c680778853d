"""Decides whether a photo shows the product of a drawing, by the cosine of two vectors of one network."""
