"""Documents that people write, read; and what is wrong in them, told in their words."""
