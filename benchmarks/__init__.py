"""Measurements of what should be fast, against the limits that we promise."""
