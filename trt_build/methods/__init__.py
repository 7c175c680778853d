"""Contains one folder for each method of judging parts, and the code that the methods share."""
