"""The experiments of the paper in PyTorch: data, layers, networks, losses, recipes and the loop."""
