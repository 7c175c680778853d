"""Packs a draft (the exported graphs of a model) as a bundle: adds thresholds and golden frames."""
