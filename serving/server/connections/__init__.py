"""What happens below ASGI, on uvicorn's connections: limits that it lacks, and the short way of small requests."""
