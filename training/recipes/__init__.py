"""Recipes: every setting of a training by name, and the experiments that are made of them."""
