"""Makes a verified model bundle from a folder of pictures. The command is `trt-build`."""
