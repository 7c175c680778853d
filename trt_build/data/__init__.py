"""Folders of pictures, read and checked."""
