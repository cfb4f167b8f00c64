"""Pydantic models of requests and replies. Every other module of the API may import them."""
