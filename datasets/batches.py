"""Batches for `model.fit`: gathered, augmented and normalised on the device, on a CPU by numpy."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from datasets.augment import Augmentation, apply_mix, apply_window, draw_mix, draw_shifts, erase_outside, shrink, window
from datasets.upload import is_host_the_device, to_device
from foundation import replicas
from foundation.errors import UserError
from foundation.randomness import generator

MEASURED = 500  # images of 64x64 in a batch that is only measured, at most
RESIDENT = 512 << 20  # bytes; images of a split up to this size are kept on the device, larger splits are read when needed
AHEAD = 128 << 20  # bytes of float32 images that a GPU makes at once, so that it does not wait for the host at every batch
FIRST = 4  # batches that are made at once when an epoch begins


def at_once(image_shape, most) -> int:
    """Return the number of images in a batch: at most `most`, and fewer if images are larger than 64x64."""
    height, width, _ = image_shape
    return max(min(most, most * 64 * 64 // (height * width)), 1)


class ReadAhead:
    """Reads a split's images; a thread reads the next batch while one is in use."""

    def __init__(self, split):
        self.split = split
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self.next = None  # (indices, future) of the batch that is being read

    def read(self, indices, following):
        if self.next is None or not np.array_equal(self.next[0], indices):
            self.next = indices, self.thread.submit(self.split.read, indices)
        images = self.next[1].result()
        self.next = following, self.thread.submit(self.split.read, following)
        return images


class Batches(keras.utils.PyDataset):
    """Batches of one split, in order, without augmentation: images `(N, H, W, C)` float32 and labels `(N, classes)` float32.

    Every image comes once an epoch; the last batch may be smaller. Without `batch_size`, batches have a size that suits
    evaluation, which keeps no gradients.
    """

    def __init__(self, dataset, split, batch_size=None):
        super().__init__()
        self.split = split
        self.batch_size = batch_size or at_once(dataset.image_shape, MEASURED)
        self.classes = dataset.classes
        # (pixel / 255 - mean) / std as one multiplication and one addition, for a whole line of pixels
        width = dataset.image_shape[1]
        self.is_on_host = is_host_the_device()
        self.scale = self._placed(np.tile(1.0 / (255.0 * dataset.std), width).astype("float32"))
        self.shift = self._placed(np.tile(-dataset.mean / dataset.std, width).astype("float32"))
        self.images = self._placed(split.read()) if split.nbytes <= RESIDENT else None
        self.reader = None if self.images is not None else ReadAhead(split)

    def __len__(self):
        return -(-len(self.split) // self.batch_size)

    def __getitem__(self, step):
        indices = self.indices(step)
        images = self._normalize(self._gather(indices, step))
        return replicas.shard(ops.convert_to_tensor(images)), self._one_hot(indices)

    def indices(self, step):
        """Return the indices of the images that are read for a step."""
        return np.arange(step * self.batch_size, min((step + 1) * self.batch_size, len(self.split)))

    def _gather(self, indices, step):
        """Return the images of these indices, which belong to a step."""
        if self.reader is not None:
            images = self.reader.read(indices, self.indices(step + 1))
            return images if self.is_on_host else replicas.shard(ops.convert_to_tensor(images))
        if isinstance(self.images, np.ndarray):
            return self.images[indices]
        return ops.take(self.images, replicas.shard(to_device(indices.astype("int32"))), axis=0)

    def _normalize(self, images):
        if self.is_on_host:
            lines = np.multiply(images.reshape(*images.shape[:2], -1), self.scale, dtype="float32")
            lines += self.shift
            return lines.reshape(images.shape)
        lines = ops.cast(ops.reshape(images, (*images.shape[:2], -1)), "float32")
        return ops.reshape(lines * self.scale + self.shift, images.shape)

    def _placed(self, array):
        """Return an array where images are made: as it is on the host, else as a tensor, on each of jax's devices."""
        return array if self.is_on_host else replicas.replicate(ops.convert_to_tensor(array))

    def _one_hot(self, indices):
        return np.eye(self.classes, dtype="float32")[self.split.labels[indices]]


class Draw(NamedTuple):
    """A batch before it is made: which images are read, and how they are augmented."""

    indices: np.ndarray  # indices of the images that are read
    places: slice | np.ndarray  # places, in the whole batch, of the images that this process makes
    mix: tuple | None  # see `datasets.augment.draw_mix`
    shifts: list  # see `datasets.augment.draw_shifts`; empty if nothing is shifted


class TrainingBatches(Batches):
    """Batches of the train split: shuffled anew each epoch, augmented, with smoothed labels.

    With `class_weights` "balanced" a batch has a third part, the weights `(N,)` of the images: N / (classes * images of its
    class). A mixed image has the mean of the two weights, by its shares.

    A batch is a function of (seed, epoch, step). The training loop sets `epoch` before an epoch begins; `first_step` skips the
    steps that a resumed run has already done. If several processes train together, each gets its share of the batch that a
    single process would train on.
    """

    def __init__(self, dataset, batch_size, seed, augmentation=None, label_smoothing=0.0, class_weights="none"):
        super().__init__(dataset, dataset.train, batch_size)
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        self.augmentation.check(dataset.image_shape)
        self.height, self.width = dataset.image_shape[:2]
        if (len(self.split) - 1) % batch_size + 1 < replicas.NUM_SHARDS:
            raise UserError("an epoch's last batch has fewer images than there are processes: choose another batch_size")
        self.label_smoothing = label_smoothing
        self.class_weights = None
        if class_weights == "balanced":
            counts = np.bincount(dataset.train.labels, minlength=dataset.classes)
            self.class_weights = (len(dataset.train) / (dataset.classes * np.maximum(counts, 1))).astype("float32")
        self.is_mirrored = dataset.is_mirrored
        self.starts_mirrored = generator(seed, "mirror").random(len(self.split)) < 0.5
        self.policy = None
        if self.augmentation.augment not in ("none", "standard"):
            from datasets.policies import Policy

            self.policy = Policy(self.augmentation.augment)
        self.epoch = 0
        self.first_step = 0
        self._order = (-1, np.arange(0))
        self.steps_together = self._count_together()
        self._made = (None, {})  # (epoch, batches by step) of batches that were made ahead

    @property
    def steps_per_epoch(self):
        return super().__len__()

    def spans_of_one_size(self, first, last):
        """Return (first, last) of successive epochs with images of one size.

        On tensorflow, one call of `fit` takes images of one size only.
        """
        changes = [epoch for epoch in range(first + 1, last) if self.height_at(epoch) != self.height_at(epoch - 1)]
        return list(pairwise([first, *changes, last])) if first < last else []

    def height_at(self, epoch):
        """Return the height of the images of an epoch, counted from 0."""
        return self.augmentation.height_at(epoch, self.height)

    def __len__(self):
        return self.steps_per_epoch - self.first_step

    def __getitem__(self, i):
        step = self.first_step + i
        if self.steps_together == 1:
            return self._make([step])[0]
        if self._made[0] != self.epoch or step not in self._made[1]:
            # At first few, so that the device has work while the host prepares more.
            count = min(self.steps_together, max(i, FIRST))
            steps = range(step, min(step + count, self.steps_per_epoch))
            self._made = self.epoch, dict(zip(steps, self._make(steps), strict=True))
        return self._made[1].pop(step)

    def _count_together(self):
        """Return the number of batches that are made at once.

        It is 1 on a CPU, whose caches hold no more, for images read from a file, for policies, and for several processes.
        """
        if self.is_on_host or self.images is None or self.policy or replicas.NUM_SHARDS > 1:
            return 1
        return max(AHEAD // (4 * self.batch_size * math.prod(self.images.shape[1:])), 1)

    def _make(self, steps):
        """Return the batches of consecutive steps of an epoch. Their images are made together."""
        draws = [self._draw(step) for step in steps]
        indices = np.concatenate([draw.indices for draw in draws])
        images, labels = self._gather(indices, steps[-1]), self._one_hot(indices)
        if self.policy:
            (draw,) = draws
            images = self._placed(self.policy(images, self.seed, self.epoch, steps[0]))[draw.places]
            labels = labels[draw.places]
        if self.augmentation.augment == "none":
            images = self._normalize(images)
        else:
            shifts = [np.concatenate(parts) for parts in zip(*(draw.shifts for draw in draws), strict=True)]
            places = window(*shifts, height=self.height, width=self.width, padding=self.augmentation.padding)
            # Padding is zero after normalisation, which is the mean in pixels.
            images = erase_outside(self._normalize(apply_window(images, *places)), *places)
        height = self.height_at(self.epoch)
        if height < self.height:
            images = shrink(images, height)
        images = ops.convert_to_tensor(images)
        if draws[0].mix:
            images, labels = apply_mix(images, labels, *(draw.mix for draw in draws))
        smooth = labels * (1.0 - self.label_smoothing) + self.label_smoothing / self.classes
        parts = [images, smooth] if self.class_weights is None else [images, smooth, labels @ self.class_weights]
        if len(draws) == 1:
            return [(replicas.shard(parts[0]), *parts[1:])]
        ends = np.cumsum([len(draw.indices) for draw in draws]).tolist()
        parts = [parts[0], *map(to_device, parts[1:])]
        return [tuple(part[first:end] for part in parts) for first, end in pairwise([0, *ends])]

    def _draw(self, step):
        """Return a `Draw`: everything that is random about a batch."""
        indices, (places, mix) = self.indices(step), self._places(step)
        if self.augmentation.augment == "none":
            return Draw(indices, places, mix, [])
        random = generator(self.seed, "shift and mirror", self.epoch, step)
        shifts = draw_shifts(random, self._count(step), self.augmentation.max_shift, self._mirrored(step))
        return Draw(indices, places, mix, [part[places] for part in shifts])

    def _count(self, step):
        """Return the number of images in a batch."""
        return min(self.batch_size, len(self.split) - step * self.batch_size)

    def _places(self, step):
        """Return the places in a batch that this process reads, and how their images are mixed (see `draw_mix`) or None.

        If several processes mix images, the places are this process's share, followed by the partners of its images.
        """
        count, height = self._count(step), self.height_at(self.epoch)
        size = height, self.width * height // self.height
        alphas = self.augmentation.mixup_alpha, self.augmentation.cutmix_alpha
        mix = draw_mix(generator(self.seed, "mix", self.epoch, step), count, *size, *alphas) if any(alphas) else None
        share = replicas.share_of(count)
        if mix is None or replicas.NUM_SHARDS == 1:
            return share, mix
        own, (partner, *how) = np.arange(count)[share], mix
        followers = np.arange(len(own), 2 * len(own), dtype="int32")
        return np.concatenate([own, partner[share]]), (followers, *how)

    def _mirrored(self, step):
        """Return which images of a batch are mirrored, `(N, 1)`, or None to draw that for each image.

        With "alternating", an image is mirrored in every second epoch. Whether it starts mirrored is drawn for each image
        (Jordan 2024, section 3.6).
        """
        if not self.is_mirrored:
            return np.zeros((self._count(step), 1), bool)
        if self.augmentation.mirror == "random":
            return None
        return (self.starts_mirrored[self._batch(step)] ^ (self.epoch % 2 == 1))[:, None]

    def _batch(self, step):
        """Return the indices of the images of a whole batch, whichever process reads them."""
        epoch, order = self._order
        if epoch != self.epoch:
            order = generator(self.seed, "order", self.epoch).permutation(len(self.split))
            self._order = (self.epoch, order)
        return order[step * self.batch_size : (step + 1) * self.batch_size]

    def indices(self, step):
        indices = self._batch(step)
        is_whole = replicas.NUM_SHARDS == 1 or self.policy  # a policy draws for the whole batch at once
        return indices if is_whole or not len(indices) else indices[self._places(step)[0]]
