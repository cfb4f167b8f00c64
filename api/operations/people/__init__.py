"""Users, groups, and the links that they share."""
