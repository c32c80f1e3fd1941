"""Published image classifiers as ONNX scorers, and what PyTorch says of them."""
