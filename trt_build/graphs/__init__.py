"""Turns a trained model into ONNX graphs in several precisions: FP32, FP16, INT8 and FP8."""
