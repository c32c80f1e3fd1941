"""Sources of images by their format, each read in pieces."""
