"""The HTTP API, built on Flask. It reads and writes rows and imports neither TensorFlow nor a worker."""
