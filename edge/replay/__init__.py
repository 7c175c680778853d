"""Puts the frames of a black-box file through the line's own stages again, and compares the verdicts."""
