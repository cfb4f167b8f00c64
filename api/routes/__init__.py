"""One module for each resource of `/v1`; handlers are a few lines each."""
