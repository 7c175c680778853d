"""What long work shows on a terminal, and how Ctrl-C ends it."""
