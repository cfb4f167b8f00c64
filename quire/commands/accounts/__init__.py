"""Commands about logins, users, keys and their limits."""
