"""Computes quality figures by comparing a model's outputs with labels, and draws charts and a report."""
