"""Tests of the routes about people: their keys, enrolments, and the audit."""
