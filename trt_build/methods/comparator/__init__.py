"""Finds defects on a board by comparing its picture with the picture of a defect-free master."""
