"""The commands of `trt-build`: each reads its options, calls the code for the work, and prints the result."""
