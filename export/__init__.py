"""From a finished run to a model directory: freezing, ONNX graphs, the parity report."""
