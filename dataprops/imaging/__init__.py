"""Decode image files to canonical images."""
