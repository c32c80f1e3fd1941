"""The commands that score images, and what they share."""
