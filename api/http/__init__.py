"""The HTTP layer under the routes: authentication, bodies, pages, retries, limits, OpenAPI."""
