"""A frame on its way into a model's input: masters, registration, and one warp."""
