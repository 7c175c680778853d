"""Student-teacher pyramid matching."""
