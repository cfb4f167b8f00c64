"""Routes about people: users, their groups and keys, and what admins see of all three."""
