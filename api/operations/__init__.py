"""What routes do beyond HTTP: admit, submit, resolve and follow."""
