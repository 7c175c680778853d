"""Show the progress of long work on a terminal, print figures, and handle Ctrl-C."""
