"""Runs this host's workers: ``python -m worker``."""

from shared.process.part import run_part

if __name__ == "__main__":
    run_part("worker.supervisor")
