"""What the steps of a training see: images, labels, epochs, and random changes of images."""
