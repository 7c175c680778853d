"""Tests a line with known good and known bad parts, in the industry's orders, and writes a signed report."""
