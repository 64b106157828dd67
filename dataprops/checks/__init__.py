"""Checks: thresholds, expectations, alerts, and the state of open alerts."""
