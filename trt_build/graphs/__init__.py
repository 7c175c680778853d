"""Trained models into ONNX graphs, one file for each precision."""
