"""The store: one folder that holds everything the system writes."""
