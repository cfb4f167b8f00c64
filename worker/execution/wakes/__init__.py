"""Wakes: taken by a child that lingers, and passed on for the jobs that it leaves."""
