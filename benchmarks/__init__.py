"""Every figure that the README states, measured again by one command."""
