"""The command line and the keeper of processes."""
