"""The HTTP server: hosted models behind dynamic batchers, the Open Inference Protocol, routes for people, a page."""
