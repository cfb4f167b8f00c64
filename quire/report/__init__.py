"""`quire report`: one HTML page of how a model learned to write."""
