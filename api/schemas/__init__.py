"""What a request may say (`requests`), and what an answer says (`replies`)."""
