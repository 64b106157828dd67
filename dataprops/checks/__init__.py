"""Checks: thresholds, expectations, the alerts of those that fail, and which of them are open."""
