"""Finished runs as files that other programs load, checked in their own runtimes, and what classifies images with them."""
