"""Utilities without domain knowledge: atomic file writes, JSON, number formatting, caches, memory, redaction of secrets."""
