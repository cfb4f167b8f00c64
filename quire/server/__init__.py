"""The whole server on this machine, as child processes of `quire up`."""
