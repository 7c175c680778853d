"""Decides from a line's verdicts which alarms to raise, and if they point to the product or to the camera."""
