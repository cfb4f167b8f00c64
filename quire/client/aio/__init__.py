"""The client as it is written, asynchronous; `make client` writes `quire/client/sync/` from it."""
