"""Contains STPM: a student network imitates a pre-trained teacher, and fails at defects."""
