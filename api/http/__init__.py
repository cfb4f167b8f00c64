"""HTTP concerns that every route shares: bodies, pages, retries, concurrency, the OpenAPI document."""
