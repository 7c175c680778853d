"""Compute figures from what a model says and what is true, and draw charts and a report."""
