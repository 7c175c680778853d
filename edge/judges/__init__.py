"""Checks the engines of models, and decides from a model's outputs whether a part is rejected."""
