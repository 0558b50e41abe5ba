"""Sweeps: many runs from one file, their folders, and their outcomes."""
