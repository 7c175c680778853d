"""Decides which looks of several cameras belong to which part, and when each part reaches the ejector."""
