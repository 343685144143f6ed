"""Optimizers: a table of update rules, and what they have in common."""
