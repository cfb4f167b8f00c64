"""Periodic maintenance of the tables, one service a file.

Every service is cheap and idempotent, and any number of processes may run it at once. Workers'
supervisors run them all (worker/maintenance.py).
"""
