"""Readers of cameras and films: packets into frames that are whole, or named as damaged."""
