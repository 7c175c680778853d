"""What people and programs see of a running line: metrics, systemd, the state of the GPU."""
