"""The supernet as an ONNX file, and the cache that keeps it."""
