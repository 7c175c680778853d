"""Hears a line without missing a verdict: finds gaps, asks for what is missing, and notices silence."""
