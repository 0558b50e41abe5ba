"""Measuring: what configs claim, and speed."""
