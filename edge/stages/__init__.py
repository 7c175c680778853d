"""The four stages of a line (capture, preprocess, infer and publish), and what they have in common."""
