"""Generations, scores and what may follow: from a valid request to a queued job."""
