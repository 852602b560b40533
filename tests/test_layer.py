"""Conv1d: conv1d with its weights prepared, the same results, and what a value that people keep has to do."""

from __future__ import annotations

import copy
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from problems import assert_exact, assert_within_bound, normal, small_integers

import fastconv1d
from fastconv1d import Conv1d, conv1d
from fastconv1d.plan import ALGORITHMS

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": "same", "activation": "relu"},
    "dilated": {"dilation": (3,), "padding": (4, 1), "padding_mode": "reflect"},
    "grouped": {"groups": 2, "padding": "causal"},
    "callable": {"activation": np.tanh},
}


def layer_and_input(rng: np.random.Generator, make: Any = normal, dtype: str = "float32", **options: Any) -> Any:
    groups = options.get("groups", 1)
    w, bias, x = make(rng, (8, 6 // groups, 4), dtype), make(rng, (8,), dtype), make(rng, (3, 6, 50), dtype)
    return Conv1d(w, bias, **options), x, w, bias


@pytest.mark.generic
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_a_layer_computes_what_conv1d_does(rng: np.random.Generator, options: dict[str, Any], dtype: str) -> None:
    if dtype == "int32" and "activation" in options:
        options = options | {"activation": None}
    layer, x, w, bias = layer_and_input(rng, small_integers, dtype, **options)
    expected = conv1d(x, w, bias, **options)
    for _ in range(2):  # prepared, and used again
        np.testing.assert_array_equal(layer(x), expected, strict=True)
    out = np.empty_like(expected)
    assert layer(x, out=out) is out
    np.testing.assert_array_equal(out, expected, strict=True)


@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS])
def test_each_algorithm_in_a_layer_gives_its_bits(rng: np.random.Generator, algorithm: str) -> None:
    groups = 6 if algorithm == "depthwise" else 1
    x, w = normal(rng, (2, 6, 300), "float32"), normal(rng, (12, 6 // groups, 5), "float32")
    layer = Conv1d(w, padding=2, groups=groups, algorithm=algorithm)
    np.testing.assert_array_equal(layer(x), conv1d(x, w, padding=2, groups=groups, algorithm=algorithm), strict=True)
    assert layer.explain(x).algorithm == layer.explain(x.shape).algorithm == algorithm


def test_a_layer_takes_every_shape_and_dtype_of_x(rng: np.random.Generator) -> None:
    layer, x, w, bias = layer_and_input(rng, small_integers)
    for value in (
        x,
        x[0],
        x[:, :, :9],
        x[:0],
        x.astype("f8"),
        x.astype("i2"),
        x.astype(">f4"),
        x.tolist(),
        x[..., ::-2],
    ):
        expected = conv1d(value, w, bias)
        np.testing.assert_array_equal(layer(value), expected, strict=True)


def test_channels_last_and_one_filter(rng: np.random.Generator) -> None:
    x, w = small_integers(rng, (2, 30, 5), "float32"), small_integers(rng, (3, 5, 4), "float32")
    assert_exact(Conv1d(w, padding="same", data_format="NWC")(x), x, w, padding="same", data_format="NWC")
    assert_exact(Conv1d(w[:, 0, 0])(x), x, w[:, 0, 0])


@pytest.mark.generic
def test_later_changes_to_the_arrays_that_were_given_change_nothing(rng: np.random.Generator) -> None:
    layer, x, w, bias = layer_and_input(rng)
    expected = layer(x).copy()
    w[:], bias[:] = 7, 7
    np.testing.assert_array_equal(layer(x), expected)
    np.testing.assert_array_equal(layer(x[:1]), expected[:1])
    for mine in (layer.w, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            mine[...] = 0


def test_copies_and_pickles_compute_the_same_and_carry_no_prepared_weights(rng: np.random.Generator) -> None:
    layer, x, _, _ = layer_and_input(rng, **OPTIONS["strided"])
    fresh = len(pickle.dumps(layer))
    expected = layer(x)
    assert len(pickle.dumps(layer)) == fresh
    for twin in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
        np.testing.assert_array_equal(twin(x), expected, strict=True)
        assert repr(twin) == repr(layer)
        with pytest.raises(ValueError, match="read-only"):
            twin.w[...] = 0


def test_several_threads_may_use_one_layer(rng: np.random.Generator) -> None:
    layer, _, w, bias = layer_and_input(rng)
    inputs = [normal(rng, (3, 6, 20 + i % 5), "float32") for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(layer, inputs))
    for value, result in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(result, conv1d(value, w, bias))


@pytest.mark.nojit
def test_attributes_and_repr(rng: np.random.Generator) -> None:
    layer, _, w, bias = layer_and_input(rng, padding="same", groups=2, activation="gelu")
    assert repr(layer) == "Conv1d(w=float32 (8, 3, 4), bias=float32 (8,), padding='same', groups=2, activation='gelu')"
    np.testing.assert_array_equal(layer.w, w)
    np.testing.assert_array_equal(layer.bias, bias)
    assert (layer.stride, layer.padding, layer.dilation, layer.groups) == (1, "same", 1, 2)
    assert (layer.padding_mode, layer.data_format, layer.activation, layer.algorithm) == (
        "zeros",
        "NCW",
        "gelu",
        "auto",
    )
    assert Conv1d(w).bias is None


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "stride": ({"stride": 0}, ValueError, "stride must be an int >= 1"),
    "bool": ({"dilation": True}, TypeError, "dilation must be an int >= 1"),
    "padding": ({"padding": "some"}, ValueError, "padding must be"),
    "groups": ({"groups": 3}, ValueError, "groups=3 does not divide C_out=8"),
    "format": ({"data_format": "CNW"}, ValueError, "data_format must be one of"),
    "activation": ({"activation": "swishy"}, ValueError, "activation must be"),
    "algorithm": ({"algorithm": "quick"}, ValueError, "algorithm must be"),
    "depthwise": ({"algorithm": "depthwise"}, ValueError, "a group has 6 input channels, not one. Use 'auto' or"),
    "winograd": ({"algorithm": "winograd", "stride": 4}, ValueError, "no two of 4 taps"),
    "direct": ({"algorithm": "direct", "w": np.ones((8, 6, 4), "F")}, ValueError, "algorithm='direct' can't do this"),
    "fft": ({"algorithm": "fft", "w": np.ones((1, 8193, 4))}, ValueError, "algorithm='fft' can't do this"),
    "bias": ({"bias": np.ones(3)}, ValueError, "bias must have shape"),
    "w": ({"w": np.ones((2, 2))}, ValueError, "w must be"),
    "dtype": ({"w": np.ones((8, 6, 4), bool)}, TypeError, "w has dtype bool"),
}


@pytest.mark.nojit
@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_whatever_x_is_is_said_when_the_layer_is_made(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Conv1d(**{"w": np.ones((8, 6, 4), np.float32)} | arguments)


def test_what_some_x_can_do_is_not_refused_when_the_layer_is_made(rng: np.random.Generator) -> None:
    x, w = normal(rng, (6, 30), "float32"), small_integers(rng, (8, 6, 4), "int16")
    layer = Conv1d(w, activation="gelu", algorithm="direct")
    np.testing.assert_array_equal(layer(x), conv1d(x, w, activation="gelu", algorithm="direct"), strict=True)
    with pytest.raises(TypeError, match="gelu"):
        layer(w[0])
    Conv1d(np.ones((2048, 1, 2), "f"), dilation=2**30, padding="causal")  # spans 2**30, not 2048 times as much
    for options in ({"w": w, "dilation": 1000}, {"w": np.ones((1, 48, 15421)), "padding": "causal"}):
        for algorithm in ("winograd", "fft"):  # of which the length of x decides
            Conv1d(**options, algorithm=algorithm)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("w", "groups"), [((8, 6, 4), 3), ((8, 0, 4), 1), ((8, 6, 0), 1), ((0, 6, 4), 1), ((4,), 2), ((0,), 1)]
)
def test_no_x_that_nobody_gave_is_told_of(w: tuple[int, ...], groups: int) -> None:
    with pytest.raises(ValueError, match=f"w of shape {re.escape(str(w))}") as caught:
        Conv1d(np.ones(w), groups=groups)
    assert "x of shape" not in str(caught.value)


@pytest.mark.nojit
def test_an_x_that_does_not_go_with_the_weights_is_said_when_it_comes() -> None:
    layer = Conv1d(np.ones((8, 6, 4), np.float32))
    with pytest.raises(ValueError, match="takes 6"):
        layer(np.ones((1, 5, 20), np.float32))
    with pytest.raises(ValueError, match="the kernel does not fit"):
        layer(np.ones((6, 3), np.float32))
    with pytest.raises(TypeError, match="masked"):
        layer(np.ma.ones((6, 30)))
    with pytest.raises(ValueError, match="out has shape"):
        layer(np.ones((6, 30), np.float32), out=np.empty((8, 30), np.float32))


def test_a_long_lived_layer_stays_within_the_bound(rng: np.random.Generator) -> None:
    w = normal(rng, (64, 64, 3), "float32")
    layer = Conv1d(w, padding=1)
    for L in (3000, 40):
        x = normal(rng, (1, 64, L), "float32")
        units = next(a.units for a in ALGORITHMS if a.name == layer.explain(x).algorithm)
        assert_within_bound(layer(x), x, w, padding=1, units=units)


def test_the_layer_is_documented_where_help_looks() -> None:
    assert fastconv1d.Conv1d.__doc__ is not None
    assert fastconv1d.Conv1d.__call__.__doc__ is not None
