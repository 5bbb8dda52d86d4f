"""Dialects: what batch systems say and want to hear, as text in and text out."""
