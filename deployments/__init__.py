"""Deployment of the flows: schedules, triggers, the watcher, clusters. See README.md in this folder."""
