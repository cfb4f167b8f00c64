"""Tell people of the ends of jobs: rows in the transaction of the end, and who sends them."""
