"""The machine-learning pipeline: text to token ids, ids to weights, weights to text.

`training/` trains a network and `sampling/` generates with it; both build on the modules here. The
pipeline knows nothing of jobs, Redis or SQL, and can be used as a library.
"""
