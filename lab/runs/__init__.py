"""The one place that writes and reads runs: folders, checkpoints, names, what they were computed with."""
