"""Claims jobs and runs them on one device."""
