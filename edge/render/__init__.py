"""Renders pictures of bare circuit boards with known defects."""
