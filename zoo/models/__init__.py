"""What a model is, where it lies, and what its card says."""
