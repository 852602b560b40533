"""The worked examples of the article that fastconv1d grew from, with their numbers and shapes.

moonzoo, "1D convolution of speech" (2024-03-12): a sliding dot product in NumPy, a Conv1D of Keras that learns its
filter, 16 filters on a second of speech, and Conv1d of PyTorch on a mel spectrogram, dense, grouped and depthwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import LAYOUTS, assert_within_bound, normal

from fastconv1d import conv1d

DATA = np.array([0, 3, 4, 5])
FILTER = np.array([1, 2])
OUTPUT = np.array([6, 11, 14])

Rng = np.random.Generator


def sliding_dot(seq: Any, kernel: Any) -> Any:
    """The article's Conv1D_Numpy, without its print."""
    return np.array([np.dot(seq[i : i + len(kernel)], kernel) for i in range(len(seq) - len(kernel) + 1)])


@pytest.mark.nojit
def test_the_numpy_example() -> None:
    np.testing.assert_array_equal(sliding_dot(DATA, FILTER), OUTPUT)
    np.testing.assert_array_equal(conv1d(DATA, FILTER), OUTPUT, strict=True)


@pytest.mark.nojit
def test_the_keras_example() -> None:
    """(batch, time, feature), and a kernel (kernel_size, features, filters) of two parameters."""
    X, y = DATA.reshape(1, 4, 1), OUTPUT.reshape(1, 3, 1)
    kernel = FILTER.reshape(2, 1, 1)
    np.testing.assert_array_equal(conv1d(X, kernel, data_format="channels_last"), y, strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_finds_the_filter(rng: Rng, layout: str) -> None:
    """Gradient descent, as the article's model.fit: the forward pass is a conv1d, and so is the gradient of the
    weights, the correlation of x with the error. The two weights come to 1 and 2.
    """
    x, target = DATA.astype(float), OUTPUT.astype(float)
    weights = rng.uniform(-1, 1, 2)
    start = weights.copy()
    losses = []
    for _ in range(500):
        if layout == "NCW":
            y = conv1d(x[None, None], weights[None, None])[0, 0]
        else:
            y = conv1d(x[None, :, None], weights[:, None, None], data_format="NWC")[0, :, 0]
        error = y - target
        losses.append(float(np.mean(error**2)))
        weights = weights - 0.02 * conv1d(x, error)
    assert abs(start - FILTER).max() > 0.5
    assert losses[0] > 1
    assert losses[-1] < 1e-12
    np.testing.assert_allclose(weights, FILTER, atol=1e-6)


def test_the_gradient_of_the_training_is_the_slope_of_its_loss(rng: Rng) -> None:
    x, target, weights = DATA.astype(float), OUTPUT.astype(float), rng.uniform(-1, 1, 2)

    def loss(weights: Any) -> float:
        return float(0.5 * np.sum((conv1d(x, weights) - target) ** 2))

    slopes = [(loss(weights + h) - loss(weights - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
    np.testing.assert_allclose(conv1d(x, conv1d(x, weights) - target), slopes, rtol=1e-6)


def test_sixteen_filters_on_a_second_of_speech(rng: Rng) -> None:
    """(1, 1, 8000) becomes (1, 16, 8000), and the same with the channels last."""
    speech = normal(rng, (1, 1, 8000), "float32")
    filters = normal(rng, (16, 1, 3), "float32")
    y = conv1d(speech, filters, padding="same")
    assert y.shape == (1, 16, 8000)
    assert_within_bound(y, speech, filters, padding="same")

    last = conv1d(speech.reshape(1, 8000, 1), filters.transpose(2, 1, 0), padding="same", data_format="NWC")
    assert last.shape == (1, 8000, 16)
    assert_within_bound(last.transpose(0, 2, 1), speech, filters, padding="same")


MEL = {
    "dense": ((32, 128, 3), 1, (1, 32, 376)),
    "groups=4": ((32, 32, 3), 4, (1, 32, 376)),
    "depthwise": ((128, 1, 3), 128, (1, 128, 376)),
}


@pytest.mark.parametrize(("w_shape", "groups", "y_shape"), MEL.values(), ids=MEL)
def test_the_mel_spectrogram(rng: Rng, w_shape: Any, groups: int, y_shape: Any) -> None:
    """128 mels by 376 frames in decibels: 12 s at 8000 Hz, hop 256. kernel_size=3, stride=1, padding=1."""
    mel = rng.uniform(-80, 0, (128, 1 + 12 * 8000 // 256)).astype(np.float32)[np.newaxis]
    w, bias = normal(rng, w_shape, "float32"), normal(rng, w_shape[:1], "float32")
    options = {"stride": 1, "padding": 1, "groups": groups}
    y = conv1d(mel, w, bias, **options)
    assert mel.shape == (1, 128, 376)
    assert y.shape == y_shape
    assert_within_bound(y, mel, w, bias, **options)


def test_groups_see_their_own_channels_only(rng: Rng) -> None:
    """With groups=4, the 32 filters are 4 independent convolutions of 32 channels to 8."""
    mel, w = rng.uniform(-80, 0, (1, 128, 376)).astype(np.float32), normal(rng, (32, 32, 3), "float32")
    y = conv1d(mel, w, padding=1, groups=4)
    for g in range(4):
        silenced = mel.copy()
        silenced[:, 32 * g : 32 * g + 32] = 0
        expected = y.copy()
        expected[:, 8 * g : 8 * g + 8] = 0
        np.testing.assert_array_equal(conv1d(silenced, w, padding=1, groups=4), expected, strict=True)


def test_the_parameters_of_the_articles_pytorch_layer(rng: Rng) -> None:
    """nn.Conv1d(in_channels=4, out_channels=64, kernel_size=5, stride=3)."""
    x, w, bias = (normal(rng, shape, "float32") for shape in ((2, 4, 50), (64, 4, 5), (64,)))
    y = conv1d(x, w, bias, stride=3)
    assert y.shape == (2, 64, 16)
    assert_within_bound(y, x, w, bias, stride=3)


@pytest.mark.nojit
def test_causal_is_same_with_the_right_side_cut_off() -> None:
    """Its note on causal: pad both sides, convolve, and drop the right; out[t] is not influenced by x[t+1:]."""
    x, w = np.arange(1, 10), np.array([1, 2, 3])
    causal = conv1d(x, w, padding="causal")
    np.testing.assert_array_equal(causal, conv1d(x, w, padding=2)[: len(x)], strict=True)
    np.testing.assert_array_equal(causal[:5], conv1d(np.where(x > 5, 99, x), w, padding="causal")[:5], strict=True)
