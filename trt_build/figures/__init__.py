"""Verdicts and truth into figures, charts and a report."""
