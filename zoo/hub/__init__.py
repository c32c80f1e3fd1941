"""Models on the Hugging Face Hub: finding, pulling and publishing them."""
