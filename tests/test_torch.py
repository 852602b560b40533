"""PyTorch beside conv1d, where it is installed: the same call must give the same numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from problems import LAYOUTS, any_integers, bound, in_layout, normal, small_integers

from fastconv1d import conv1d
from fastconv1d.reference import conv1d_magnitude

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # for problems this small its second thread only waits

Rng = np.random.Generator

# C_in, C_out, L, K, groups
SIZES = {
    "dense": (6, 10, 67, 3, 1),
    "panel tails": (17, 23, 33, 5, 1),
    "groups": (12, 20, 50, 4, 4),
    "depthwise": (19, 19, 70, 4, 19),
    "depthwise_x2": (7, 14, 70, 5, 7),
    "K=1": (33, 9, 40, 1, 1),
    "K=100": (2, 3, 640, 100, 1),
}
TORCH_MODES = ("zeros", "reflect", "replicate", "circular")


def draw(rng: Rng, make: Any, sizes: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
    C_in, C_out, L, K, groups = sizes
    return make(rng, (3, C_in, L), dtype), make(rng, (C_out, C_in // groups, K), dtype), make(rng, (C_out,), dtype)


def assert_close(y: Any, theirs: Any, x: Any, w: Any, bias: Any, **options: Any) -> None:
    """Both within the bound of the exact sum, so within twice of it from each other."""
    magnitude = conv1d_magnitude(x, w, bias, **options)
    tolerance = 2 * bound(x, w, bias, **options) * float(np.finfo(y.dtype).eps) / 2 * magnitude
    np.testing.assert_equal((y.shape, y.dtype), (theirs.shape, theirs.dtype))
    np.testing.assert_array_less(abs(y - theirs), np.nextafter(tolerance, np.inf))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_functional_conv1d(rng: Rng, sizes: Any, dtype: str) -> None:
    x, w, bias = draw(rng, normal, sizes, dtype)
    for stride, padding, dilation in itertools.product((1, 2, 3), (0, 1, 7), (1, 2, 4)):
        arguments = (stride, padding, dilation, sizes[-1])
        theirs = torch.nn.functional.conv1d(*map(torch.from_numpy, (x, w, bias)), *arguments).numpy()
        options = dict(zip(("stride", "padding", "dilation", "groups"), arguments, strict=True))
        assert_close(conv1d(x, w, bias, *arguments), theirs, x, w, bias, **options)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_integers_wrap_alike(rng: Rng, sizes: Any, dtype: str) -> None:
    """PyTorch has all of it in int64 only; the narrower dtypes keep the low bits of the same sums."""
    x, w, bias = draw(rng, any_integers, sizes, dtype)
    tensors = [torch.from_numpy(a.astype(np.int64)) for a in (x, w, bias)]
    for stride, padding, dilation in itertools.product((1, 3), (0, 7), (1, 2)):
        arguments = (stride, padding, dilation, sizes[-1])
        theirs = torch.nn.functional.conv1d(*tensors, *arguments).numpy().astype(dtype)
        np.testing.assert_array_equal(conv1d(x, w, bias, *arguments), theirs, strict=True)


@pytest.mark.parametrize("mode", TORCH_MODES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_module_with_padding_modes(rng: Rng, sizes: Any, mode: str) -> None:
    """nn.Conv1d with its own initialisation; its "same" is ours at stride 1, its padding modes are ours."""
    C_in, C_out, L, K, groups = sizes
    torch.manual_seed(0)
    x = normal(rng, (2, C_in, L), "float64")
    paddings: list[tuple[int, Any]] = [(1, 5), (3, 5), (1, "valid"), (2, "valid")]
    if K % 2:  # PyTorch warns of the copy that an odd padding costs it
        paddings.append((1, "same"))
    for stride, padding in paddings:
        options = {"stride": stride, "padding": padding, "groups": groups, "padding_mode": mode}
        layer = torch.nn.Conv1d(C_in, C_out, K, **options, dtype=torch.float64)
        w, bias = (parameter.detach().numpy() for parameter in (layer.weight, layer.bias))
        theirs = layer(torch.from_numpy(x)).detach().numpy()
        assert_close(conv1d(x, w, bias, **options), theirs, x, w, bias, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_problems(rng: Rng, dtype: str, layout: str) -> None:
    for _ in range(150):
        groups, stride, dilation = (int(rng.integers(1, 5)) for _ in range(3))
        C_in, C_out = (groups * int(rng.integers(1, 12)) for _ in range(2))
        K, padding = int(rng.integers(1, 9)), int(rng.integers(0, 9))
        L = (K - 1) * dilation + int(rng.integers(1, 150))
        x, w, bias = draw(rng, normal, (C_in, C_out, L, K, groups), dtype)
        theirs = torch.nn.functional.conv1d(
            *map(torch.from_numpy, (x, w, bias)), stride, padding, dilation, groups
        ).numpy()
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        data, filters = in_layout(layout, x, w)
        y = conv1d(data, filters, bias, **options, data_format=layout)
        assert_close(y if layout == "NCW" else y.swapaxes(1, 2), theirs, x, w, bias, **options)


def test_nan_and_infinity_fall_alike(rng: Rng) -> None:
    x, w = small_integers(rng, (2, 3, 60), "float64"), small_integers(rng, (4, 3, 5), "float64")
    x[0, 1, 7], x[1, 2, 30], x[1, 0, 31], w[2, 0, 0] = np.nan, np.inf, -np.inf, np.inf
    theirs = torch.nn.functional.conv1d(torch.from_numpy(x), torch.from_numpy(w), padding=2).numpy()
    np.testing.assert_array_equal(conv1d(x, w, padding=2), theirs)


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "leaky_relu", "elu"])
def test_activations_have_the_constants_of_pytorch(name: str) -> None:
    x = np.linspace(-15, 15, 1001)
    theirs = getattr(torch.nn.functional, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(conv1d(x, np.ones(1), activation=name), theirs, rtol=1e-13, atol=1e-14)


def test_a_tensor_is_an_array_and_one_with_a_gradient_is_not() -> None:
    x, w = torch.arange(5.0), torch.ones(2)
    np.testing.assert_array_equal(conv1d(x, w), np.array([1, 3, 5, 7], np.float32), strict=True)
    with pytest.raises(TypeError, match="detach"):
        conv1d(x, w.requires_grad_())
