"""Our architectures and a training loop in plain PyTorch, as a careful user without this project would write them.

Channels-last memory, fused batch norm, autocast to bfloat16, no synchronisation between steps; on a GPU also compiled, or
as one CUDA graph. Convolutions with a stride are padded as PyTorch pads, on all sides.
"""

import torch
import torch.nn.functional as F
from torch import nn

from lab.benchmarks.twins import check_twins

ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "mish": nn.Mish, "silu": nn.SiLU, "gelu": nn.GELU}


def conv(channels, filters, size, stride=1, groups=1):
    return nn.Conv2d(channels, filters, size, stride, size // 2, groups=groups, bias=False)


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        squeezed = max(channels // 16, 1)
        self.gates = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.gates(x.mean((2, 3)))[:, :, None, None]


class PoolSameSize(nn.Module):
    """Mean over windows of 2x2 that keeps height and width; padding does not count."""

    def forward(self, x):
        if torch.compiler.is_compiling():  # the compiler gets the layout of a repeated row's gradient wrong
            return F.avg_pool2d(x, 2, 1, 1, count_include_pad=False)[:, :, 1:, 1:]
        return F.avg_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)


class PadChannels(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x):
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.channels))


class Block(nn.Module):
    """One residual block; `block` is a `models.architecture.BlockSpec`."""

    def __init__(self, channels, block):
        super().__init__()
        self.is_pre = block.order == "pre"
        parts = block.convolutions
        widths = [channels, *(part.filters for part in parts)]
        self.convs = nn.ModuleList(
            conv(inputs, part.filters, part.size, part.stride, part.groups) for inputs, part in zip(widths, parts, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, block.epsilon) for width in (widths[:-1] if self.is_pre else widths[1:]))
        self.activation = ACTIVATIONS[block.activation]()
        self.attention = SqueezeExcite(block.filters) if block.attention == "se" else nn.Identity()
        self.is_plain = not block.wiring.is_joined
        self.shortcut = self._shortcut(channels, block)

    @staticmethod
    def _shortcut(channels, block):
        filters, stride = block.filters, block.stride
        if not block.shortcut_parts:
            return None
        if block.shortcut == "zero":
            return PadChannels(filters - channels, stride)
        if block.shortcut == "projection":
            norm = [nn.BatchNorm2d(filters, block.epsilon)] if "shortcut_norm" in block.shortcut_parts else []
            return nn.Sequential(conv(channels, filters, 1, stride), *norm)
        is_as_in_study = block.has_study_shortcut
        pool = [nn.AvgPool2d(2, 2)] if stride > 1 else []
        if stride == 1 and is_as_in_study:
            pool = [PoolSameSize()]
        norm = nn.BatchNorm2d(filters, 1e-3, 0.01) if is_as_in_study else nn.BatchNorm2d(filters, block.epsilon)
        return nn.Sequential(*pool, conv(channels, filters, 1), norm)

    def forward(self, x):
        return self._pre(x) if self.is_pre else self._post(x)

    def _pre(self, x):
        shortcut = branch = x
        for i, (norm, convolution) in enumerate(zip(self.norms, self.convs, strict=True)):
            branch = self.activation(norm(branch))
            if i == 0 and self.shortcut:
                shortcut = self.shortcut(branch)
            branch = convolution(branch)
        branch = self.attention(branch)
        return branch if self.is_plain else branch + shortcut

    def _post(self, x):
        branch = x
        for i, (convolution, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            branch = self.activation(branch) if i else branch
            branch = norm(convolution(branch))
        branch = self.attention(branch)
        if not self.is_plain:
            branch = branch + (self.shortcut(x) if self.shortcut else x)
        return self.activation(branch)


class Network(nn.Module):
    """An `Architecture` from images `(N, C, H, W)` to logits. Raises UserError for parts that are not written here."""

    def __init__(self, architecture, channels, classes):
        super().__init__()
        a = architecture
        check_twins(a)
        self.is_pre, self.head = a.order == "pre", a.head
        layers = self._stem(a, channels)
        channels = a.stem_filters
        for _, _, block in a.residual_blocks():
            layers.append(Block(channels, block))
            channels = block.filters
        if self.is_pre:
            layers += [nn.BatchNorm2d(channels, a.epsilon), ACTIVATIONS[a.activation]()]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * (2 if a.head == "average+max" else 1), classes)

    @staticmethod
    def _stem(a, channels):
        filters = a.stem_filters
        deep = [(channels, filters // 2, 3, 2), (filters // 2, filters // 2, 3), (filters // 2, filters, 3)]
        parts = {"imagenet": [(channels, filters, 7, 2)], "deep": deep}
        layers = []
        for part in parts.get(a.stem, [(channels, filters, 3)]):
            layers.append(conv(*part))
            if a.stem != "conv":
                layers += [nn.BatchNorm2d(part[1], a.epsilon), ACTIVATIONS[a.activation]()]
        return [*layers, nn.MaxPool2d(3, 2, 1)] if a.stem in parts else layers

    def forward(self, images):
        x = self.body(images)
        features = x.mean((2, 3))
        if self.head == "average+max":
            features = torch.cat([features, x.amax((2, 3))], 1)
        return self.classifier(features)


class Loop:
    """The training loop on one resident batch: `step()` trains once and waits for nothing."""

    def __init__(self, network, images, labels, is_bfloat16, mode="eager"):
        device = images.device.type
        self.network = network.to(device, memory_format=torch.channels_last)
        fused = {"fused": True} if device == "cuda" else {}
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, **fused)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = labels

        def loss_of(images, labels):
            with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16):
                return F.cross_entropy(self.network(images), labels)

        self.loss_of = torch.compile(loss_of, dynamic=False) if "compile" in mode else loss_of
        self.step = self._captured() if "graph" in mode else self._step

    def _step(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_of(self.images, self.labels).backward()
        self.optimizer.step()

    def _captured(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                self._step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._step()
        return graph.replay
