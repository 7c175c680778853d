"""Engines built of a bundle's graphs, and every engine held against what it should compute."""
