"""The commands of `edge` that have a file of their own: each reads its options and prints the result."""
