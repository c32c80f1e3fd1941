"""Single files of images: what they are, and how they become pixels."""
