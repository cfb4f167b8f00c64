"""The HTTP API, built on Flask. It imports neither TensorFlow nor worker code."""
