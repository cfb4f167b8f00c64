"""Runs claimed jobs: leases, heartbeats and outcomes."""
