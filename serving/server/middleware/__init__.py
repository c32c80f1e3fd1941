"""Layers around the routes, and what all routes share: limits, tokens, logs, metrics, answers."""
