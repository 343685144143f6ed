"""Residual networks as data: what a row of the dispatcher's table says. Imports no deep-learning library."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A residual network for `models.network.build_network`.

    Stage i has `blocks` residual blocks of `filters[i]` channels; every stage but the first halves height and width.
    """

    blocks: int  # in each stage
    filters: tuple[int, ...] = (16, 32, 64)
    stem_filters: int = 16
    bottleneck: float | None = None  # inner width of a bottleneck as a share of the block's filters; None: basic blocks
    groups: int = 1  # of the bottleneck's 3x3 convolution
    order: str = "pre"  # norm and activation before ("pre") or after ("post") each convolution
    shortcut: str = "pool"  # where the shape changes: "pool" (ResNet-D) or "projection" (1x1 convolution with stride)
    head: str = "average"  # global pooling before the classifier: "average" or "average+max", concatenated
    norm: str = "batch"
    activation: str = "relu"
    attention: str = "none"
    padding: str = "same"  # of convolutions with a stride: "same" (Keras') or "symmetric" (PyTorch's)
    epsilon: float = 1e-5  # of the norms

    @property
    def depth(self):
        """Layers with weights along the longest path: stem, the branches' convolutions, classifier."""
        return 2 + (2 if self.bottleneck is None else 3) * self.blocks * len(self.filters)

    def residual_blocks(self):
        """Yields (stage, block, arguments of ResidualBlock), stages and blocks counted from 1."""
        channels = self.stem_filters
        for stage, filters in enumerate(self.filters, start=1):
            for block in range(1, self.blocks + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                yield stage, block, self._block(filters, stride, is_first=block == 1, channels=channels)
                channels = filters

    def _block(self, filters, stride, is_first, channels):
        # A bottleneck projects at every stage's first block, a basic block only where the shape changes.
        is_projected = is_first and (self.bottleneck is not None or stride > 1 or channels != filters)
        return {
            "filters": filters,
            "stride": stride,
            "width": None if self.bottleneck is None else round(filters * self.bottleneck),
            "groups": self.groups,
            "order": self.order,
            "shortcut": self.shortcut if is_projected else "identity",
            "norm": self.norm,
            "activation": self.activation,
            "attention": self.attention,
            "padding": self.padding,
            "epsilon": self.epsilon,
        }


def xresnet(blocks, activation="relu", attention="none"):
    """The CIFAR-10 study's basic networks: pre-activation, ResNet-D shortcuts, average and max pooling."""
    return Architecture(blocks, activation=activation, attention=attention, shortcut="pool", head="average+max", epsilon=2e-5)


def xresnext(blocks, groups=16, bottleneck=0.5, activation="relu", attention="none"):
    """The same with bottlenecks: grouped 3x3 convolutions of half the block's width (groups 16, 2 channels each at 64)."""
    return Architecture(
        blocks,
        filters=(64, 128, 256),
        stem_filters=64,
        bottleneck=bottleneck,
        groups=groups,
        activation=activation,
        attention=attention,
        shortcut="pool",
        head="average+max",
        epsilon=2e-5,
    )


def resnet_cifar(blocks):
    """6n + 2 layers for small images (He et al. 2015, section 4.2), projection shortcuts."""
    return Architecture(blocks, order="post", shortcut="projection", padding="symmetric")
