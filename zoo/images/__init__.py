"""Images: read safely, brought to a model's shape, arranged in a grid."""
