"""Prefect flows (`audit.audit` and others) and the command line (`cli`)."""
