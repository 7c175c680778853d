"""Shows the state of a running line to people and programs: metrics, systemd, the state of the GPU."""
