"""Reads the frames of cameras and video files. A frame is either whole or reported as damaged."""
