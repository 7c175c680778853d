"""One-class autoencoder with a joint score (JP 7735801 B2)."""
