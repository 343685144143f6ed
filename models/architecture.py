"""Residual networks as data: what a row of the dispatcher's table says. Imports no deep-learning library."""

from dataclasses import dataclass, fields, replace
from typing import Any

from foundation.errors import unknown
from foundation.norm_table import NORM_TABLE

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
class Convolution:
    """Arguments of a `models.layers.Conv2D` in a block's branch."""

    filters: int
    size: int
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True)
class Wiring:
    """Steps of a block in order, each the name of a part or ACTIVATION.

    Branch and shortcut both read what `trunk` gives. Where they are joined, their results are added. `after` follows.
    """

    trunk: tuple[str, ...]
    branch: tuple[str, ...]
    shortcut: tuple[str, ...]
    is_joined: bool
    after: tuple[str, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        return self.trunk + self.branch + self.shortcut + self.after


ACTIVATION = "activation"
BESIDE = ("shortcut_conv", "shortcut_norm", "shortcut_pad", "shortcut_pool", "attention")  # parts that add nothing to the depth


@dataclass(frozen=True)
class BlockSpec:
    """A residual block, for `models.blocks.ResidualBlock`: its arguments, and how its parts are wired.

    `branch(x) + shortcut(x)`: `(N, H, W, C)` to `(N, ceil(H / stride), ceil(W / stride), filters)`. A field that an Architecture
    has too is the same in every block.
    """

    filters: int  # channels of the output
    stride: int = 1  # of the first 3x3 convolution and of the shortcut
    # None: a basic block of two 3x3 convolutions (He et al. 2015, figure 5 left); else the inner channels of a bottleneck 1x1,
    # 3x3, 1x1 (figure 5 right)
    width: int | None = None
    groups: int = 1  # of the bottleneck's 3x3 convolution: its cardinality (Xie et al. 2017, section 3)
    order: str = "pre"  # norm and activation before each convolution (He et al. 2016, figure 4e), or "post", after it
    # "identity"; "projection", a 1x1 convolution with the stride (He et al. 2015, option B), then norm in post order; "zero",
    # every stride-th pixel and new channels of zeros (option A); "pool", 2x2 average pooling where there is a stride, 1x1
    # convolution, norm (He et al. 2019, ResNet-D); or "none", which leaves the branch alone
    shortcut: str = "identity"
    # "pool" as the CIFAR-10 study has it: it pools with a stride of 1 too, and its norm, alone in the network, keeps Keras'
    # defaults
    has_study_shortcut: bool = False
    norm: str = "batch"
    norm_groups: int = 8  # of norms that have groups
    activation: str = "relu"
    attention: str = "none"  # at the end of the branch
    drop_rate: float = 0.0  # chance that an image skips the branch in training (stochastic depth)
    padding: str = "same"  # of the convolutions: "same" or "symmetric", see Conv2D
    epsilon: float = 1e-5  # of the norms
    folded: bool = False  # a norm that directly follows a convolution is folded into it: see `models.folding`

    @property
    def convolutions(self):
        """The branch's convolutions, `conv1` first."""
        if self.width is None:
            return Convolution(self.filters, 3, self.stride), Convolution(self.filters, 3)
        middle = Convolution(self.width, 3, self.stride, self.groups)
        return Convolution(self.width, 1), middle, Convolution(self.filters, 1)

    @property
    def shortcut_parts(self):
        """Names of the parts between the block's input and the addition."""
        if self.shortcut == "zero":
            return ("shortcut_pad",)
        if self.shortcut == "projection":
            return ("shortcut_conv", "shortcut_norm") if self.order == "post" else ("shortcut_conv",)
        if self.shortcut == "pool":
            has_pool = self.stride > 1 or self.has_study_shortcut
            return (*(["shortcut_pool"] if has_pool else []), "shortcut_conv", "shortcut_norm")
        return ()

    @property
    def activated_norms(self) -> tuple[str, ...]:
        """Names of the norms that an activation follows, the network's or their own."""
        return tuple(f"norm{i}" for i in range(1, len(self.convolutions) + (self.order == "pre")))

    @property
    def wiring(self) -> Wiring:
        count, is_pre = len(self.convolutions), self.order == "pre"
        activation = () if NORM_TABLE[self.norm].has_activation else (ACTIVATION,)
        each = ("norm{}", *activation, "conv{}") if is_pre else ("conv{}", "norm{}", *activation)
        steps = tuple(step.format(i) for i in range(1, count + 1) for step in each)
        parting = steps.index("conv1") if is_pre and self.shortcut_parts else 0
        trunk, steps = steps[:parting], steps[parting:]
        after = () if is_pre else (ACTIVATION,)  # of the sum; it takes the place of the last norm's
        steps = steps if is_pre else steps[: steps.index(f"norm{count}") + 1]
        ends = (*(["attention"] if self.attention != "none" else []), *(["drop"] if self.drop_rate else []))
        return Wiring(trunk, steps + ends, self.shortcut_parts, self.shortcut != "none", after)


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
    shortcut: str = "projection"  # where the shape changes, see BlockSpec; "none": no skip connection anywhere
    has_study_shortcut: bool = False  # pooling shortcuts are the CIFAR-10 study's, not ResNet-D's, see BlockSpec
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
        """Raise ValueError unless each of these parts is one of the names given for it."""
        for part, allowed in parts.items():
            if getattr(self, part) not in allowed:
                raise ValueError(str(unknown(part, getattr(self, part), allowed)))

    @property
    def blocks_per_stage(self) -> tuple[int, ...]:
        return (self.blocks,) * len(self.filters) if isinstance(self.blocks, int) else self.blocks

    @property
    def depth(self) -> int:
        """Layers with weights along the longest path: stem, the branches' convolutions, classifier."""
        return STEMS[self.stem] + (2 if self.bottleneck is None else 3) * sum(self.blocks_per_stage) + 1

    def residual_blocks(self):
        """Yield (stage, block, BlockSpec), stages and blocks counted from 1."""
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
        shared = {field.name for field in fields(self)} & {field.name for field in fields(BlockSpec)}
        own: dict[str, Any] = {
            "filters": filters,
            "stride": stride,
            "width": None if self.bottleneck is None else round(filters * self.bottleneck),
            "shortcut": shortcut,
            "drop_rate": self.stochastic_depth * place,  # Huang et al. 2016, eq. 4
        }
        return BlockSpec(**{name: getattr(self, name) for name in shared} | own)


def xresnet(blocks, activation="relu", attention="none") -> Architecture:
    """Return the CIFAR-10 study's basic networks: pre-activation, pooling shortcuts, average and max pooling."""
    return Architecture(
        blocks,
        activation=activation,
        attention=attention,
        shortcut="pool",
        head="average+max",
        has_study_shortcut=True,
        padding="same",
        epsilon=2e-5,
    )


def xresnext(blocks, groups=16, bottleneck=0.5, activation="relu", attention="none") -> Architecture:
    """Return the same with bottlenecks: grouped 3x3 convolutions of half the block's width (groups 16, 2 channels each at 64)."""
    wide = {"filters": (64, 128, 256), "stem_filters": 64, "projects_every_stage": True}
    return replace(xresnet(blocks, activation, attention), groups=groups, bottleneck=bottleneck, **wide)


def resnet_cifar(blocks, **options) -> Architecture:
    """6n + 2 layers for small images (He et al. 2015, section 4.2)."""
    return Architecture(blocks, stem="conv-norm", order="post", **options)


def preresnet_cifar(blocks, **options) -> Architecture:
    """6n + 2 layers with norm and activation before each convolution (He et al. 2016, figure 4e)."""
    return Architecture(blocks, **options)


def resnet(blocks, bottleneck=None, **options) -> Architecture:
    """18 to 152 layers (He et al. 2015, table 1) for images of 32 pixels: 3x3 stem, no pooling before the stages."""
    filters = (64, 128, 256, 512) if bottleneck is None else (256, 512, 1024, 2048)
    network = Architecture(blocks, filters, stem_filters=64, bottleneck=bottleneck, stem="conv-norm", order="post")
    return replace(network, **options)


def mini_resnet(order, bottleneck=None) -> Architecture:
    """Return the block study's networks for 64x64: three stages of two blocks."""
    return Architecture(2, (32, 64, 128), "conv-norm", 32, bottleneck, order=order, image_size=64)


def wide_resnet(blocks, widening) -> Architecture:
    """6n + 4 layers, counting projections (Zagoruyko & Komodakis 2016, table 1)."""
    return Architecture(blocks, tuple(filters * widening for filters in (16, 32, 64)))
