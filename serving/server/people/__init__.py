"""Routes for people and their scripts: classify, sample, score, models, latents."""
