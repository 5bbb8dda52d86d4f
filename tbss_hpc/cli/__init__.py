"""The commands that people type: one module each, and no logic."""
