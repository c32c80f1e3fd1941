"""ONNX graphs: built, and rewritten as the same function in a faster form."""
