"""Where training images come from: every source, its labels, and which of them training sees."""
