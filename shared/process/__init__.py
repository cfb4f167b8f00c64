"""Child processes: supervision, command lines and process titles."""
