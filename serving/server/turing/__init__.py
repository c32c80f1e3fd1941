"""The visual Turing test: the game, its images, its results and its routes."""
