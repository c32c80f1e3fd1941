"""Which models are served: where they come from, loaded and unloaded, requests batched for each graph."""
