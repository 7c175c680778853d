"""Product against drawing: a Siamese network with a cosine distance."""
