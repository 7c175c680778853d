"""Builds engines from a bundle's graphs, and checks that each engine computes what its graph defines."""
