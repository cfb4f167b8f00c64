"""What developers run beside the tests: mutations, and the page of settings."""
