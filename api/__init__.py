"""Flask: HTTP in, rows out. Imports neither TensorFlow nor worker code."""
