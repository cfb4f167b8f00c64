"""What requests are made of: bodies from arguments, uploads from files."""
