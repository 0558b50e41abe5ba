"""Figures of lectures, each with a check of what it shows."""
