"""Shows the progress of long work on a terminal, prints figures, and handles Ctrl-C."""
