"""Trainings: from a valid request to a queued job."""
