"""Turns a draft, a model's exported graphs, into a packed bundle: adds thresholds and golden frames."""
