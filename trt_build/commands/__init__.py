"""The commands of `trt-build`: what a person asks for, and what is printed."""
