"""Render pictures of bare boards whose defects are known."""
