"""Audit of a data set: what stands in the way of believing a network that is trained on it."""
