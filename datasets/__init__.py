"""Images with labels: sources, three honest splits, addressed augmentation, batches."""
