"""Turns a draft into a packed bundle: sets thresholds and tolerances, and chooses golden frames."""
