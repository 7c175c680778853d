"""Detects unusual parts with an autoencoder that learns from good parts alone (JP 7735801 B2)."""
