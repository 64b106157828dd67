"""Schedules, triggers and clusters: how the flows run in operation. See README.md in this folder."""
