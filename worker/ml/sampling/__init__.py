"""Text from weights: requests, sequences, the engine and its compiled step."""
