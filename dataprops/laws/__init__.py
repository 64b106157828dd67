"""Scaling laws of Konz & Mazurowski 2024: predictions, and fits to a user's own networks."""
