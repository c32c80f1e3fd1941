"""A small stand-in for the Hugging Face Hub: repositories in memory, served by Starlette on this machine."""
