"""What is told of a job while it runs, and afterwards."""
