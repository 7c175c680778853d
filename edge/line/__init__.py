"""The supervisor of a line, and the processes that it starts and watches."""
