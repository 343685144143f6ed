"""Images with labels: sources, three honest splits, addressed augmentation, batches."""

from foundation.backend import select_backend

select_backend()
