"""Routes about people: users, their keys, and what admins see of both."""
