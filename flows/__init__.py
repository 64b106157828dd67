"""The wiring: the Prefect flow `audit.audit`, and the command line `cli`."""
