"""Sweeps: many runs from one file, their folders, and what came of them."""
