"""What the API, the workers and the command line agree on: settings, tables, the queue."""
