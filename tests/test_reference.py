"""The oracle, checked by hand: every expected value is a literal, worked out on paper."""

import ast
import inspect
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv1d import reference
from fastconv1d.reference import conv1d_magnitude, conv1d_reference

X, W = [0, 3, 4, 5], [1, 2]  # the worked example from which the library grew


def test_it_imports_nothing_of_the_package():
    modules = set()
    for node in ast.walk(ast.parse(inspect.getsource(reference))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(node.module)
    assert {name.split(".")[0] for name in modules} == {"__future__", "collections", "math", "numpy", "typing"}


# --- one row ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [6, 11, 14]),
        ({"padding": "valid"}, [6, 11, 14]),
        ({"padding": "same"}, [6, 11, 14, 5]),
        ({"padding": "same_lower"}, [0, 6, 11, 14]),
        ({"padding": "causal"}, [0, 6, 11, 14]),
        ({"padding": "full"}, [0, 6, 11, 14, 5]),
        ({"padding": 1}, [0, 6, 11, 14, 5]),
        ({"padding": (1,)}, [0, 6, 11, 14, 5]),
        ({"padding": (0, 2)}, [6, 11, 14, 5, 0]),
        ({"padding": [2, 0]}, [0, 0, 6, 11, 14]),
        ({"bias": 1}, [7, 12, 15]),
        ({"bias": [1]}, [7, 12, 15]),
        ({"stride": 2}, [6, 14]),
        ({"stride": (2,)}, [6, 14]),
        ({"stride": 3}, [6]),
        ({"stride": 4}, [6]),
        ({"stride": 2, "padding": "causal"}, [0, 11]),
        ({"stride": 3, "padding": "causal"}, [0, 14]),
        ({"stride": 3, "padding": "same"}, [6, 5]),  # windows at 0 and 3, the second hangs over by one
        ({"stride": 3, "padding": "same_lower"}, [0, 14]),
        ({"stride": 2, "padding": "same"}, [6, 14]),  # nothing is missing
        ({"stride": 2, "padding": "full"}, [0, 11, 5]),
        ({"dilation": 2}, [8, 13]),  # 0 + 2*4, 3 + 2*5
        ({"dilation": 3}, [10]),
        ({"dilation": 2, "padding": "same"}, [6, 8, 13, 4]),
        ({"dilation": 2, "padding": "causal"}, [0, 6, 8, 13]),
        ({"dilation": 2, "stride": 2, "padding": "causal"}, [0, 8]),
        ({"dilation": 2, "stride": 3, "padding": "full"}, [0, 13]),
    ],
)
def test_one_row(options, expected):
    y = conv1d_reference(X, W, **options)
    assert_array_equal(y, expected)
    assert y.dtype == np.asarray(X).dtype


@pytest.mark.parametrize(
    ("mode", "padded"),
    [
        ("zeros", [0, 0, 0, 3, 4, 5, 0, 0, 0]),
        ("reflect", [4, 3, 0, 3, 4, 5, 4, 3, 0]),
        ("symmetric", [3, 0, 0, 3, 4, 5, 5, 4, 3]),
        ("replicate", [0, 0, 0, 3, 4, 5, 5, 5, 5]),
        ("circular", [4, 5, 0, 3, 4, 5, 0, 3, 4]),
    ],
)
def test_padding_modes(mode, padded):
    assert_array_equal(conv1d_reference(X, [1], padding=(2, 3), padding_mode=mode), padded)


@pytest.mark.parametrize(
    ("mode", "padded"),
    [
        ("reflect", [1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2]),
        ("symmetric", [3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2]),
        ("replicate", [1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3]),
        ("circular", [3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2]),
    ],
)
def test_padding_wider_than_the_row(mode, padded):
    assert_array_equal(conv1d_reference([1, 2, 3], [1], padding=(4, 5), padding_mode=mode), padded)


@pytest.mark.parametrize(
    ("alias", "mode"),
    [("constant", "zeros"), ("edge", "replicate"), ("wrap", "circular")],
)
def test_numpys_names_of_the_modes(alias, mode):
    assert_array_equal(
        conv1d_reference(X, W, padding=3, padding_mode=alias),
        conv1d_reference(X, W, padding=3, padding_mode=mode),
    )


# --- channels, groups, layouts ---------------------------------------------------------------------------------------

# Two batches, two channels, five samples; three filters.
X3 = np.array([[[1, 2, 3, 4, 5], [0, 1, 0, 1, 0]], [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]])
W3 = np.array([[[1, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [1, 2, 3]]])
Y3 = np.array([[[1, 2, 3], [7, 11, 13], [2, 4, 2]], [[1, 0, 0], [1, 0, 1], [0, 0, 3]]])


def test_channels_are_summed():
    assert_array_equal(conv1d_reference(X3, W3), Y3)


def test_bias_goes_to_its_filter():
    assert_array_equal(conv1d_reference(X3, W3, [10, 20, 30]), np.add(Y3, [[10], [20], [30]]))


def test_stride_and_causal_padding_over_channels():
    y = [[[0, 1, 3], [1, 7, 13], [0, 2, 2]], [[0, 1, 0], [1, 1, 1], [0, 0, 3]]]
    assert_array_equal(conv1d_reference(X3, W3, stride=2, padding="causal"), y)


def test_the_rank_of_x_is_kept():
    y = conv1d_reference(X3[0], W3)
    assert y.shape == (3, 3)
    assert_array_equal(y, Y3[0])


@pytest.mark.parametrize("data_format", ["NWC", "channels_last"])
def test_channels_last(data_format):
    x, w, y = X3.transpose(0, 2, 1), W3.transpose(2, 1, 0), Y3.transpose(0, 2, 1)
    assert x.shape == (2, 5, 2)
    assert w.shape == (3, 2, 3)
    assert_array_equal(conv1d_reference(x, w, data_format=data_format), y)
    assert_array_equal(conv1d_reference(x[1], w, data_format=data_format), y[1])
    assert_array_equal(conv1d_reference(x, w, [10, 20, 30], data_format=data_format), np.add(y, [10, 20, 30]))


def test_channels_first_by_its_other_name():
    assert_array_equal(conv1d_reference(X3, W3, data_format="channels_first"), Y3)


def test_groups_see_only_their_own_channels():
    x = [[1, 2, 3], [10, 20, 30], [100, 200, 300], [1000, 2000, 3000]]
    w = [[[1, 1], [0, 0]], [[0, 0], [1, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 0]]]
    assert_array_equal(conv1d_reference(x, w, groups=2), [[3, 5], [30, 50], [1100, 2200], [200, 300]])


def test_depthwise_with_a_multiplier():
    x = [[1, 2, 3], [10, 20, 30]]
    w = [[[1, 0]], [[0, 1]], [[1, 1]], [[-1, 1]]]  # output channel c*M + m reads channel c
    assert_array_equal(conv1d_reference(x, w, groups=2), [[1, 2], [2, 3], [30, 50], [10, 10]])


def test_groups_channels_last():
    x = np.array([[1, 10], [2, 20], [3, 30]])
    w = np.array([[[1, 0, 1, -1]], [[0, 1, 1, 1]]])
    y = [[1, 2, 30, 10], [2, 3, 50, 10]]
    assert_array_equal(conv1d_reference(x, w, groups=2, data_format="NWC"), y)


@pytest.mark.parametrize("data_format", ["NCW", "NWC"])
def test_one_filter_slides_along_the_last_axis_whatever_leads(data_format):
    x = np.arange(24).reshape(2, 3, 4)
    y = 3 * x[..., :3] + 2  # a + 2*(a + 1)
    assert_array_equal(conv1d_reference(x, W, data_format=data_format), y)
    assert_array_equal(conv1d_reference(x[None], W, data_format=data_format), y[None])


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "y_shape"),
    [
        ((0, 4, 9), (8, 4, 3), {}, (0, 8, 7)),
        ((0, 9, 4), (3, 4, 8), {"data_format": "NWC"}, (0, 7, 8)),
        ((2, 4, 0), (8, 4, 3), {"padding": 2}, (2, 8, 2)),
        ((4, 0), (8, 4, 3), {"padding": "full"}, (8, 2)),
        ((0,), (3,), {"padding": (3, 0)}, (1,)),
        ((2, 0, 9), (3,), {}, (2, 0, 7)),
    ],
)
def test_nothing_in_zeros_out(x_shape, w_shape, options, y_shape):
    y = conv1d_reference(np.ones(x_shape), np.ones(w_shape), **options)
    assert y.shape == y_shape
    assert_array_equal(y, np.zeros(y_shape))


def test_a_kernel_that_does_not_fit():
    with pytest.raises(ValueError, match="larger than input"):
        conv1d_reference([1, 2], [1, 2, 3])


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "expected"), [("i1", -112), ("u1", 144), ("i2", 400), ("i8", 400)])
def test_integers_wrap_in_the_dtype_of_the_result(dtype, expected):
    y = conv1d_reference(np.full(3, 100, dtype), np.full(2, 2, dtype))
    assert y.dtype == np.dtype(dtype)
    assert_array_equal(y, [expected, expected])


def test_integers_beyond_float64_are_exact():
    assert_array_equal(conv1d_reference([2**53, 1], [1, 1]), [2**53 + 1])
    assert_array_equal(conv1d_reference([2**63 - 1, 1], [1, 1]), [-(2**63)])
    assert_array_equal(conv1d_reference(np.uint64([2**64 - 1, 2]), np.uint64([1, 1])), np.uint64([1]))


@pytest.mark.parametrize(
    ("x", "w", "bias", "result"),
    [
        ("f2", "f2", None, "f8"),
        ("f4", "f4", None, "f8"),
        (">f4", ">f4", None, "f8"),
        ("f8", "i4", None, "f8"),
        ("i8", "u8", None, "f8"),
        ("c8", "f4", None, "c16"),
        ("f8", "f8", "c8", "c16"),
        ("i1", "u1", None, "i2"),
        (">i2", ">i2", None, "i2"),
        ("i1", "i1", "i4", "i4"),
        ("i4", "i4", "f4", "f8"),
    ],
)
def test_dtypes(x, w, bias, result):
    bias = None if bias is None else np.array([1], bias)
    y = conv1d_reference(np.array([1, 2, 3], x), np.array([1, 2], w), bias)
    assert y.dtype == np.dtype(result)
    assert_array_equal(y, [5, 8] if bias is None else [6, 9])


def test_the_bias_takes_part_in_the_promotion():
    y = conv1d_reference(np.int8([100, 100]), np.int8([2, 2]), np.int32([1]))
    assert_array_equal(y, np.int32([401]))


def test_complex_without_conjugation():
    assert_array_equal(conv1d_reference([1 + 1j, 2, 3j], [1j, 1]), [1 + 1j, 5j])


def test_products_of_halves_do_not_round():
    x = np.float16([2049, 1])  # 2049 is 2048 in float16
    assert_array_equal(conv1d_reference(x, np.float16([1, 1])), [2049.0])
    assert_array_equal(conv1d_reference(np.full(3000, 1, np.float16), np.ones(3000, np.float16)), [3000.0])


def test_sums_of_float32_are_taken_in_float64():
    x = np.float32([1, 2**-30])
    assert_array_equal(conv1d_reference(x, np.float32([1, 1])), [1 + 2**-30])


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is float64 here")
@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_sums_of_float64_are_taken_in_more(dtype):
    for x in itertools.permutations([1, 2**-60, -1]):  # whatever the order of the sum
        assert_array_equal(conv1d_reference(np.array(x, dtype), np.ones(3, dtype)), [2**-60])


def test_nan_stays_in_its_windows():
    x = [1.0, 2.0, np.nan, 4.0, 5.0, 6.0]
    assert_array_equal(conv1d_reference(x, [1, 1]), [3, np.nan, np.nan, 9, 11])
    assert_array_equal(conv1d_reference(x, [1, 1], dilation=2), [np.nan, 6, np.nan, 10])
    assert_array_equal(conv1d_reference(x, [1, 1], stride=4), [3, 11])


def test_infinities():
    assert_array_equal(conv1d_reference([1.0, np.inf, 1.0, 1.0], [1, 1]), [np.inf, np.inf, 2])
    assert_array_equal(conv1d_reference([np.inf, -np.inf, 1.0], [1, 1]), [np.nan, -np.inf])
    assert_array_equal(conv1d_reference([np.inf, 1.0, 1.0], [0, 1]), [np.nan, 1])


def test_zero_padding_times_infinity_is_nan():
    assert_array_equal(conv1d_reference([1.0, 2.0], [np.inf, 1], padding=1), [np.nan, np.inf, np.inf])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # of -2, -0.5, 0, 1, 30; PyTorch's default constants
        ("relu", [0, 0, 0, 1, 30]),
        ("leaky_relu", [-0.02, -0.005, 0, 1, 30]),
        ("elu", [-0.8646647167633873, -0.3934693402873666, 0, 1, 30]),
        ("tanh", [-0.9640275800758169, -0.46211715726000973, 0, 0.7615941559557649, 1]),
        ("sigmoid", [0.11920292202211755, 0.3775406687981454, 0.5, 0.7310585786300049, 0.9999999999999064]),
        (
            "softplus",
            [0.1269280110429725, 0.4740769841801067, 0.6931471805599453, 1.3132616875182228, 30.000000000000092],
        ),
        ("silu", [-0.2384058440442351, -0.1887703343990727, 0, 0.7310585786300049, 29.999999999997193]),
        ("gelu", [-0.04550026389635842, -0.15426876936299347, 0, 0.8413447460685429, 30]),
    ],
)
def test_activations(name, expected):
    x = np.float32([-2, -0.5, 0, 1, 30])
    assert_allclose(conv1d_reference(x, np.float32([1]), activation=name), expected, rtol=1e-14, atol=1e-17)


def test_activation_comes_after_the_bias():
    assert_array_equal(conv1d_reference(X, W, -10, activation="relu"), [0, 1, 4])


def test_relu_keeps_integers():
    y = conv1d_reference(np.int8([-1, 1]), np.int8([2]), activation="relu")
    assert y.dtype == np.int8
    assert_array_equal(y, [0, 2])


def test_a_function_as_activation():
    assert_array_equal(conv1d_reference(X, W, activation=np.negative), [-6, -11, -14])


def test_inputs_are_not_written_to():
    x, w, bias = X3.astype(float), W3.astype(float), np.ones(3)
    for a in (x, w, bias):
        a.flags.writeable = False
    conv1d_reference(x, w, bias, padding=1, activation="relu")
    assert_array_equal(x, X3)
    assert_array_equal(w, W3)
    assert_array_equal(bias, np.ones(3))


# --- the magnitude of the sum ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "bias", "options", "expected"),
    [
        ([-1, 2, -3], [1, -2], None, {}, [5, 8]),
        ([-1, 2, -3], [1, -2], -4, {}, [9, 12]),
        ([-1, 2, -3], [1, -2], None, {"padding": "same", "stride": 2}, [5, 3]),
        ([-1, 2, -3], [1, -2], None, {"activation": "relu"}, [5, 8]),
        ([3 + 4j, -1j], [1j, -2], None, {}, [7]),
        (np.int8([-128, 127]), np.int8([1, 1]), None, {}, [255]),
        (np.float32([1, -(2**-30)]), np.float32([1, 1]), None, {}, [1 + 2**-30]),
    ],
)
def test_magnitude(x, w, bias, options, expected):
    y = conv1d_magnitude(x, w, bias, **options)
    assert y.dtype == np.float64
    assert_array_equal(y, expected)


def test_magnitude_takes_the_positions_of_the_oracle():
    assert_array_equal(
        conv1d_magnitude(-X3, W3, None, 2, (2, 0), 1, 1), conv1d_reference(X3, W3, None, 2, (2, 0), 1, 1)
    )


# --- a second opinion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [(1, 0, 1), (1, 3, 1), (1, "same", 1), (1, "same", 3), (2, 1, 1), (3, 4, 2), (5, 0, 2)],
)
def test_torch_agrees(stride, padding, dilation, groups, padding_mode):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv1d(6, 12, 3, stride, padding, dilation, groups, padding_mode=padding_mode, dtype=torch.float64)
    x = np.random.default_rng(0).standard_normal((2, 6, 17))
    with torch.no_grad():
        expected = layer(torch.from_numpy(x)).numpy()
    w, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    y = conv1d_reference(x, w, bias, stride, padding, dilation, groups, padding_mode=padding_mode)
    assert_allclose(y, expected, rtol=0, atol=1e-13)


def test_torch_agrees_on_complex():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((*shape, 2)).view("c16")[..., 0] for shape in [(2, 4, 9), (6, 2, 3)])
    expected = torch.nn.functional.conv1d(torch.from_numpy(x), torch.from_numpy(w), groups=2).numpy()
    assert_allclose(conv1d_reference(x, w, groups=2), expected, rtol=0, atol=1e-13)


def test_torch_agrees_on_wrapped_integers():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-128, 128, shape, np.int8) for shape in [(2, 4, 9), (6, 2, 3)])
    expected = torch.nn.functional.conv1d(torch.from_numpy(x), torch.from_numpy(w), groups=2).numpy()
    assert_array_equal(conv1d_reference(x, w, groups=2), expected)


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "leaky_relu", "elu"])
def test_torch_agrees_on_activations(name):
    torch = pytest.importorskip("torch")
    activate = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    x = np.array([-np.inf, -800.0, -3.0, -1e-9, 0.0, 1e-9, 0.5, 3.0, 800.0, np.inf, np.nan])
    expected = activate(torch.from_numpy(x)).numpy()
    assert_allclose(conv1d_reference(x, [1.0], activation=name), expected, rtol=1e-12, atol=1e-15)
