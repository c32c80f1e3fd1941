"""The page, and the page of the API's documentation: their files and routes."""
