"""Text generation: requests, sequences, the engine that batches them, and its compiled step."""
