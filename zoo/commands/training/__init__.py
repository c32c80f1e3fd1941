"""The commands that train, and those around a training."""
