"""Reasons to rely on a run or not: checks before a long training, and what a finished network's answers are worth."""
