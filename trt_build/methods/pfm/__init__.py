"""Mapping between the features of two pre-trained networks."""
