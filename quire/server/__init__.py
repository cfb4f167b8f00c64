"""`quire up`: the whole server on this machine, as child processes."""
