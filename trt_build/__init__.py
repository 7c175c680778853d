"""`trt-build`: from pictures to a verified model bundle."""
