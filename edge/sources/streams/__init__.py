"""Read cameras and video files: packets into frames, each of which is whole or named as damaged."""
