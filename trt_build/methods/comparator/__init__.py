"""Golden-master comparison: a Siamese difference U-Net."""
