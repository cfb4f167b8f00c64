"""The pipeline: text to ids, ids to weights, weights to text.

It knows nothing of jobs, Redis or SQL.
"""
