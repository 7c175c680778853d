"""Contains PFM: two pre-trained networks predict each other's features, and fail at defects."""
