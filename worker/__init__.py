"""The workers of one host: they claim jobs and run them on its devices."""
