"""Reads and checks the folders of pictures that models are trained and tested with."""
