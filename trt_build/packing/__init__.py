"""A draft into a packed bundle: thresholds, golden frames, digests."""
