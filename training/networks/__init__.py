"""The networks of the recipes, and the layers that torch does not have."""
