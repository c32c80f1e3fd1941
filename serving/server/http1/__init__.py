"""HTTP/1.1 for ASGI apps, with limits on whatever a client may keep waiting."""
