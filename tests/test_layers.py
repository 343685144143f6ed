"""Layers against independent references: PyTorch's own operations, Keras' stock layers, closed forms."""

import keras
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.benchmarks.throughput import has_compiler
from models import torch_ops
from models.attention import CBAM, SqueezeExcite
from models.blocks import ResidualBlock
from models.layers import AveragePool2x2, Conv2D, MaxPool3x3, PadChannels
from models.norms import BatchNorm
from models.stochastic_depth import StochasticDepth, uniforms

pytestmark = pytest.mark.numeric


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    size=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2, 3]),
    groups=st.sampled_from([1, 2, 4]),
)
def test_convolution_equals_keras_convolution_with_same_padding(height, width, size, stride, groups):
    x = normal(2, height, width, 8)
    ours, keras_own = Conv2D(12, size, stride, groups), keras.layers.Conv2D(12, size, stride, "same", groups=groups)
    keras_own.use_bias = False
    ours.build(x.shape)
    keras_own.build(x.shape)
    ours.kernel.assign(keras_own.kernel)
    y = ours(x)
    assert tuple(y.shape) == ours.compute_output_shape(tuple(x.shape))
    torch.testing.assert_close(y, keras_own(x), atol=1e-5, rtol=1e-4)


@settings(max_examples=20)
@given(height=st.integers(1, 9), width=st.integers(1, 9), size=st.sampled_from([1, 3, 5, 7]), stride=st.sampled_from([1, 2]))
def test_symmetric_padding_is_pytorchs(height, width, size, stride):
    x = normal(2, height, width, 4)
    layer = Conv2D(6, size, stride, padding="symmetric")
    y = layer(x)
    assert tuple(y.shape) == layer.compute_output_shape(tuple(x.shape))
    expected = F.conv2d(x.permute(0, 3, 1, 2), layer.kernel.value.permute(3, 2, 0, 1), stride=stride, padding=size // 2)
    torch.testing.assert_close(y, expected.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-4)


def test_convolution_gives_the_gradients_of_torch():
    x, kernel = normal(2, 6, 6, 4).requires_grad_(), normal(3, 3, 2, 8).requires_grad_()
    upstream = normal(2, 6, 6, 8, seed=1)
    torch_ops.conv2d(x, kernel, None, 1, 2).backward(upstream)
    x2, kernel2 = x.detach().clone().requires_grad_(), kernel.detach().clone().requires_grad_()
    y = F.conv2d(x2.permute(0, 3, 1, 2), kernel2.permute(3, 2, 0, 1), padding=1, groups=2)
    y.backward(upstream.permute(0, 3, 1, 2))
    torch.testing.assert_close(x.grad, x2.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kernel.grad, kernel2.grad, atol=1e-5, rtol=1e-5)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="groups=3 must divide"):
        Conv2D(6, 3, groups=3).build((1, 8, 8, 4))


@settings(max_examples=30)
@given(height=st.integers(1, 7), width=st.integers(1, 7), stride=st.sampled_from([1, 2]))
def test_average_pooling_leaves_padding_out_of_the_mean(height, width, stride):
    x = normal(1, height, width, 2)
    y = AveragePool2x2(stride)(x)
    expected = torch.stack(
        [
            torch.stack([x[:, i : i + 2, j : j + 2].mean((1, 2)) for j in range(0, width, stride)], 1)
            for i in range(0, height, stride)
        ],
        1,
    )
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_average_pooling_without_a_stride_has_the_same_gradient_compiled():
    """Torch's compiler gets the layout of the gradient of a repeated row wrong."""
    results = []
    for pool in (torch_ops.average_pool_2x2, torch.compile(torch_ops.average_pool_2x2)):
        leaf = normal(2, 8, 8, 4).requires_grad_()
        y = pool(leaf * 2.0, 1)  # of a tensor that is computed, whose layout the compiler chooses
        y.backward(normal(2, 8, 8, 4, seed=1))
        results.append((y, leaf.grad))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


@settings(max_examples=20)
@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_padding_is_never_the_maximum(height, width):
    x = -1.0 - normal(2, height, width, 3).abs()
    y = MaxPool3x3()(x)
    assert y.shape == MaxPool3x3().compute_output_shape(x.shape)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = x[:, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            torch.testing.assert_close(y[:, i, j], window.amax((1, 2)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(8, 5, 7, 6), (1, 4, 4, 3), (2, 1, 1, 4)])
def test_batch_norm_equals_keras_batch_normalization(training, shape):
    ours, keras_own = BatchNorm(momentum=0.8, epsilon=1e-4), keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-4)
    results = []
    for layer in (ours, keras_own):
        layer.build(shape)
        for weight, seed in ((layer.gamma, 1), (layer.beta, 2), (layer.moving_mean, 3)):
            weight.assign(normal(shape[-1], seed=seed))
        layer.moving_variance.assign(normal(shape[-1], seed=4) ** 2 + 0.5)
        x = (normal(*shape) * 3 + 1).requires_grad_()
        y = layer(x, training=training)
        y.backward(normal(*shape, seed=5))
        gradients = [x.grad, layer.gamma.value.grad, layer.beta.value.grad]
        results.append([y.detach(), *gradients, layer.moving_mean.value, layer.moving_variance.value])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_batch_norm_of_one_value_per_channel_is_beta():
    layer = BatchNorm()
    layer.build((1, 1, 1, 3))
    layer.beta.assign([1.0, 2.0, 3.0])
    x = normal(1, 1, 1, 3).requires_grad_()
    y = layer(x, training=True)
    y.sum().backward()
    assert y.flatten().tolist() == [1.0, 2.0, 3.0]
    assert x.grad.abs().max() == 0
    torch.testing.assert_close(layer.moving_mean.value, 0.1 * x.detach().flatten())
    torch.testing.assert_close(layer.moving_variance.value, torch.full((3,), 0.9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mish_equals_torch_with_its_gradient(dtype):
    x = torch.linspace(-40, 40, 20_011).to(dtype)
    x = torch.cat([x, torch.tensor([-1e4, 0.0, 1e4], dtype=dtype)]).view(1, 1, -1, 1).repeat(1, 15, 1, 1)
    results = []
    for function in (torch_ops.mish, F.mish):
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        y.backward(torch.ones_like(y))
        results.append((y.detach().float(), leaf.grad.float()))
    tolerance = 2e-6 if dtype == torch.float32 else 1e-2
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def test_spatial_mean_has_the_gradient_of_a_mean():
    x = normal(2, 3, 5, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(torch_ops.spatial_mean, (x,))


def test_squeeze_and_excitation_follows_its_formula():
    layer = SqueezeExcite()
    x = normal(2, 4, 4, 32)
    y = layer(x)
    w1, w2 = layer.squeeze.kernel.value, layer.excite.kernel.value
    assert (tuple(w1.shape), tuple(w2.shape)) == ((32, 2), (2, 32))
    gates = torch.sigmoid(torch.relu(x.mean((1, 2)) @ w1) @ w2)
    torch.testing.assert_close(y, x * gates[:, None, None])


@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("width", [None, 4])
def test_a_block_follows_the_papers_figure(order, width):
    """Recomputed from the block's own weights with PyTorch's operations, in training mode."""
    block = ResidualBlock(8, stride=2, width=width, order=order, shortcut="projection", epsilon=1e-5)
    x = normal(3, 6, 6, 5)
    y = block(x.clone(), training=True)

    def norm(layer, z):
        return F.batch_norm(z, None, None, layer.gamma.value, layer.beta.value, True, 0.1, layer.epsilon)

    def conv(layer, z):
        size = layer.kernel.shape[0]
        far = max((-(-z.shape[2] // layer.stride) - 1) * layer.stride + size - z.shape[2], 0)
        z = F.pad(z, (far // 2, far - far // 2) * 2)
        return F.conv2d(z, layer.kernel.value.permute(3, 2, 0, 1), stride=layer.stride)

    z = x.permute(0, 3, 1, 2)
    projection, *projection_norm = block.shortcut_layers
    assert len(projection_norm) == (order == "post")  # in pre order the projection reads what is normalised already
    branch, shortcut = z, conv(projection, z)
    if order == "post":
        shortcut = norm(projection_norm[0], shortcut)
    for i, (c, n) in enumerate(zip(block.convs, block.norms, strict=True)):
        if order == "pre":
            branch = F.relu(norm(n, branch))
            shortcut = conv(projection, branch) if i == 0 else shortcut
            branch = conv(c, branch)
        else:
            branch = norm(n, conv(c, branch))
            branch = F.relu(branch) if i < len(block.convs) - 1 else branch
    expected = branch + shortcut if order == "pre" else F.relu(branch + shortcut)
    torch.testing.assert_close(y, expected.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("has_study_shortcut", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_pooling_shortcut_is_resnet_ds_or_the_studys(stride, has_study_shortcut):
    """He et al. 2019, section 4.2: pooling in the place of the stride, so none without one; the study's pools everywhere."""
    options = {"shortcut": "pool", "order": "post", "epsilon": 0.1, "has_study_shortcut": has_study_shortcut}
    block, x = ResidualBlock(8, stride=stride, **options), normal(3, 6, 6, 5)
    block.build(x.shape)
    conv, norm = block.shortcut_layers[-2:]
    norm.moving_variance.assign(torch.full((8,), 0.5))
    z = x.permute(0, 3, 1, 2)
    if stride == 2:
        z = F.avg_pool2d(z, 2)
    elif has_study_shortcut:
        z = F.avg_pool2d(F.pad(z, (0, 1, 0, 1), mode="replicate"), 2, 1)
    epsilon = 1e-3 if has_study_shortcut else 0.1
    expected = F.relu(F.conv2d(z, conv.kernel.value.permute(3, 2, 0, 1)) / (0.5 + epsilon) ** 0.5)
    torch.testing.assert_close(block.call_shortcut(x), expected.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-4)
    assert norm.momentum == (0.99 if has_study_shortcut else 0.9)


def test_a_block_leaves_its_input_alone():
    """Nothing inside works in place on what the caller still holds."""
    for order in ("pre", "post"):
        for norm in ("batch", "none"):
            x = normal(2, 4, 4, 8)
            before = x.clone()
            ResidualBlock(8, order=order, norm=norm)(x, training=True)
            assert torch.equal(x, before)


def test_zeros_in_new_channels_are_option_a():
    x = normal(2, 5, 5, 3)
    y = PadChannels(7, 2)(x)
    assert torch.equal(y[..., :3], x[:, ::2, ::2]) and y[..., 3:].abs().max() == 0
    assert tuple(y.shape) == PadChannels(7, 2).compute_output_shape((2, 5, 5, 3)) == (2, 3, 3, 7)


def test_cbam_follows_its_equations():
    layer, x = CBAM(), normal(2, 5, 6, 32)
    y = layer(x)
    w1, w2 = layer.squeeze.kernel.value, layer.excite.kernel.value
    gates = torch.sigmoid(sum(torch.relu(features @ w1) @ w2 for features in (x.mean((1, 2)), x.amax((1, 2)))))
    scaled = (x * gates[:, None, None]).permute(0, 3, 1, 2)
    pixels = torch.stack([scaled.mean(1), scaled.amax(1)], 1)
    located = torch.sigmoid(F.conv2d(pixels, layer.locate.kernel.value.permute(3, 2, 0, 1), padding=3))
    torch.testing.assert_close(y, (scaled * located).permute(0, 2, 3, 1), atol=1e-5, rtol=1e-4)


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    layer, x = StochasticDepth(0.3), torch.ones(20_000, 1, 1, 2)
    y = layer(x, training=True)
    kept = y[:, 0, 0, 0] != 0
    assert abs(float(kept.float().mean()) - 0.7) < 0.01
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / 0.7))
    assert torch.equal(layer(x, training=False), x)
    assert not torch.equal(layer(x, training=True), y)  # the next step draws anew
    layer.address.assign(0)
    assert torch.equal(layer(x, training=True), y)


def test_addressed_bits_look_random():
    """Uniform, and uncorrelated between neighbours in place and in address."""
    draws = torch.stack([uniforms(torch.tensor(address, dtype=torch.int32), 1000) for address in range(5, 105)])
    assert abs(float(draws.mean()) - 0.5) < 0.005 and abs(float(draws.var()) - 1 / 12) < 0.002
    counts = torch.histc(draws, 20, 0, 1)
    assert (
        float(((counts - 5000) ** 2 / 5000).sum()) < 45
    )  # chi squared with 19 degrees of freedom: one in a thousand is above 43.8
    for one, other in ((draws[:-1], draws[1:]), (draws[:, :-1], draws[:, 1:])):
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])) < 0.015
