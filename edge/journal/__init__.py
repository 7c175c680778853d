"""Keeps a record of each verdict in an SQLite file, where each row holds the SHA-256 of the row before."""
