"""Scorers made from published weights: files of PyTorch or TensorFlow become ONNX models without either."""
