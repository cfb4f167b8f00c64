"""Code that the API, the workers and the command line share: settings, tables, the queue."""
