"""`quire report`: an HTML page that shows how a model learned to write."""
