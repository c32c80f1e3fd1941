"""A run on disk: its directory, checkpoints, random states and pictures."""
