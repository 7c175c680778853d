"""Contains the code that is shared by the methods which learn from good parts only."""
