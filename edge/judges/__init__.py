"""What models say of a part, checked and held against rules."""
