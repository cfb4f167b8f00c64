"""The client, which `make client` writes from `quire/client/aio/`."""
