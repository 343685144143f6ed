"""Residual networks as data: what a row of the dispatcher's table says. Imports no deep-learning library."""

from dataclasses import dataclass, replace

from foundation.errors import unknown

STEMS = {"conv": 1, "conv-norm": 1, "imagenet": 1, "deep": 3}  # and their convolutions; see `models.network.build_stem`
# The names of each part; those of norms, activations and attentions are in the tables of their layers.
PARTS = {
    "stem": tuple(STEMS),
    "order": ("pre", "post"),
    "shortcut": ("projection", "zero", "pool", "none"),
    "head": ("average", "average+max"),
    "padding": ("same", "symmetric"),
}


@dataclass(frozen=True)
class Architecture:
    """A residual network for `models.network.build_network`.

    Stage i has `blocks` (or `blocks[i]`) residual blocks of `filters[i]` channels; every stage but the first halves height
    and width. Raises ValueError for an unknown part, and for stochastic depth without a skip connection, which would make
    images zeros.
    """

    blocks: int | tuple[int, ...]
    filters: tuple[int, ...] = (16, 32, 64)
    stem: str = "conv"  # this and other parts: one of PARTS
    stem_filters: int = 16
    bottleneck: float | None = None  # inner width of a bottleneck as a share of the block's filters; None: basic blocks
    groups: int = 1  # of the bottleneck's 3x3 convolution
    order: str = "pre"  # norm and activation before ("pre") or after ("post") each convolution
    shortcut: str = "projection"  # where the shape changes, see ResidualBlock; "none": no skip connection anywhere
    has_study_shortcut: bool = False  # pooling shortcuts are the CIFAR-10 study's, not ResNet-D's, see ResidualBlock
    projects_every_stage: bool = False  # also where a stage's first block changes no shape
    head: str = "average"  # global pooling before the classifier: "average" or "average+max", concatenated
    norm: str = "batch"
    norm_groups: int = 8  # of group norm
    activation: str = "relu"
    attention: str = "none"
    stochastic_depth: float = 0.0  # chance that the last block's branch is dropped; earlier ones proportionally less
    padding: str = "symmetric"  # of convolutions with a stride: "same" (Keras') or "symmetric" (PyTorch's)
    epsilon: float = 1e-5  # of the norms
    image_size: int = 32  # height and width that the network was made for

    def __post_init__(self):
        self.check(PARTS)
        if self.shortcut == "none" and self.stochastic_depth:
            raise ValueError(f"stochastic_depth={self.stochastic_depth} needs a skip connection, received shortcut='none'")

    def check(self, parts):
        """Raises ValueError unless each of these parts is one of the names given for it."""
        for part, allowed in parts.items():
            if getattr(self, part) not in allowed:
                raise ValueError(str(unknown(part, getattr(self, part), allowed)))

    @property
    def blocks_per_stage(self):
        return (self.blocks,) * len(self.filters) if isinstance(self.blocks, int) else self.blocks

    @property
    def depth(self):
        """Layers with weights along the longest path: stem, the branches' convolutions, classifier."""
        return STEMS[self.stem] + (2 if self.bottleneck is None else 3) * sum(self.blocks_per_stage) + 1

    def residual_blocks(self):
        """Yields (stage, block, arguments of ResidualBlock), stages and blocks counted from 1."""
        channels, number = self.stem_filters, 0
        for stage, (filters, blocks) in enumerate(zip(self.filters, self.blocks_per_stage, strict=True), start=1):
            for block in range(1, blocks + 1):
                number += 1
                stride = 2 if stage > 1 and block == 1 else 1
                is_projected = stride > 1 or channels != filters or (block == 1 and self.projects_every_stage)
                yield stage, block, self._block(filters, stride, is_projected, number / sum(self.blocks_per_stage))
                channels = filters

    def _block(self, filters, stride, is_projected, place):
        shortcut = self.shortcut if is_projected or self.shortcut == "none" else "identity"
        shared = ("groups", "order", "has_study_shortcut", "norm", "norm_groups", "activation", "attention", "padding", "epsilon")
        return {name: getattr(self, name) for name in shared} | {
            "filters": filters,
            "stride": stride,
            "width": None if self.bottleneck is None else round(filters * self.bottleneck),
            "shortcut": shortcut,
            "drop_rate": self.stochastic_depth * place,  # Huang et al. 2016, eq. 4
        }


def xresnet(blocks, activation="relu", attention="none"):
    """The CIFAR-10 study's basic networks: pre-activation, pooling shortcuts, average and max pooling."""
    parts = {"activation": activation, "attention": attention, "shortcut": "pool", "head": "average+max"}
    return Architecture(blocks, **parts, has_study_shortcut=True, padding="same", epsilon=2e-5)


def xresnext(blocks, groups=16, bottleneck=0.5, activation="relu", attention="none"):
    """The same with bottlenecks: grouped 3x3 convolutions of half the block's width (groups 16, 2 channels each at 64)."""
    wide = {"filters": (64, 128, 256), "stem_filters": 64, "projects_every_stage": True}
    return replace(xresnet(blocks, activation, attention), groups=groups, bottleneck=bottleneck, **wide)


def resnet_cifar(blocks, **options):
    """6n + 2 layers for small images (He et al. 2015, section 4.2)."""
    return Architecture(blocks, stem="conv-norm", order="post", **options)


def preresnet_cifar(blocks, **options):
    """6n + 2 layers with norm and activation before each convolution (He et al. 2016, figure 4e)."""
    return Architecture(blocks, **options)


def resnet(blocks, bottleneck=None, **options):
    """18 to 152 layers (He et al. 2015, table 1) for images of 32 pixels: 3x3 stem, no pooling before the stages."""
    filters = (64, 128, 256, 512) if bottleneck is None else (256, 512, 1024, 2048)
    parts = {"stem": "conv-norm", "order": "post"} | options
    return Architecture(blocks, filters, stem_filters=64, bottleneck=bottleneck, **parts)


def mini_resnet(order, bottleneck=None):
    """The block study's networks for 64x64: three stages of two blocks."""
    return Architecture(2, (32, 64, 128), "conv-norm", 32, bottleneck, order=order, image_size=64)


def wide_resnet(blocks, widening):
    """6n + 4 layers, counting projections (Zagoruyko & Komodakis 2016, table 1)."""
    return Architecture(blocks, tuple(filters * widening for filters in (16, 32, 64)))
