"""Makes a verified model bundle from a folder of pictures, by the command `trt-build`."""
