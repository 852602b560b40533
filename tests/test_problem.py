"""The problem: lengths against tables worked by hand, and every error by its whole message."""

import pickle
import re

import numpy as np
import pytest

from fastconv1d.problem import (
    ACTIVATIONS,
    DATA_FORMATS,
    PADDING_MODES,
    PADDINGS,
    as_array,
    check_out,
    describe,
    output_length,
)


def pose(x_shape=(2, 4, 100), w_shape=(8, 4, 3), bias_shape=None, *, x="f4", w="f4", bias="f4", **options):
    """Return describe(...) with the dtypes spelt short."""
    bias_dtype = None if bias_shape is None else np.dtype(bias)
    return describe(x_shape, np.dtype(x), w_shape, np.dtype(w), bias_shape, bias_dtype, **options)


# --- lengths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("L", "K", "stride", "dilation", "pad_left", "pad_right", "L_out"),
    [
        (4, 2, 1, 1, 0, 0, 3),
        (4, 4, 1, 1, 0, 0, 1),
        (4, 5, 1, 1, 0, 0, 0),
        (4, 5, 1, 1, 1, 0, 1),
        (100, 3, 1, 1, 1, 1, 100),
        (100, 3, 2, 1, 1, 1, 50),
        (101, 3, 2, 1, 1, 1, 51),
        (10, 3, 3, 1, 0, 0, 3),
        (10, 3, 1, 4, 0, 0, 2),
        (10, 3, 5, 4, 3, 2, 2),
        (0, 3, 1, 1, 1, 2, 1),
        (0, 1, 1, 1, 0, 0, 0),
        (1, 9, 1, 1, 0, 0, -7),
        (1, 1, 1000, 1, 0, 0, 1),
    ],
)
def test_output_length(L, K, stride, dilation, pad_left, pad_right, L_out):
    assert output_length(L, K, stride, dilation, pad_left, pad_right) == L_out


# (L, K, stride, dilation): padding -> (pad_left, pad_right, L_out); None where no window fits.
NAMED_PADDINGS = {
    (4, 2, 1, 1): {
        "valid": (0, 0, 3),
        "same": (0, 1, 4),
        "same_lower": (1, 0, 4),
        "causal": (1, 0, 4),
        "full": (1, 1, 5),
    },
    (6, 3, 2, 1): {
        "valid": (0, 0, 2),
        "same": (0, 1, 3),
        "same_lower": (1, 0, 3),
        "causal": (2, 0, 3),
        "full": (2, 2, 4),
    },
    (7, 3, 2, 1): {
        "valid": (0, 0, 3),
        "same": (1, 1, 4),
        "same_lower": (1, 1, 4),
        "causal": (2, 0, 4),
        "full": (2, 2, 5),
    },
    (10, 3, 3, 1): {
        "valid": (0, 0, 3),
        "same": (1, 1, 4),
        "same_lower": (1, 1, 4),
        "causal": (2, 0, 4),
        "full": (2, 2, 4),
    },
    (5, 4, 2, 1): {
        "valid": (0, 0, 1),
        "same": (1, 2, 3),
        "same_lower": (2, 1, 3),
        "causal": (3, 0, 3),
        "full": (3, 3, 4),
    },
    (8, 3, 1, 2): {
        "valid": (0, 0, 4),
        "same": (2, 2, 8),
        "same_lower": (2, 2, 8),
        "causal": (4, 0, 8),
        "full": (4, 4, 12),
    },
    (9, 2, 4, 3): {
        "valid": (0, 0, 2),
        "same": (1, 2, 3),
        "same_lower": (2, 1, 3),
        "causal": (3, 0, 3),
        "full": (3, 3, 3),
    },
    # the stride outruns the kernel: "same" pads nothing
    (10, 1, 4, 1): {
        "valid": (0, 0, 3),
        "same": (0, 0, 3),
        "same_lower": (0, 0, 3),
        "causal": (0, 0, 3),
        "full": (0, 0, 3),
    },
    # the kernel is longer than x
    (3, 4, 5, 1): {
        "valid": None,
        "same": (0, 1, 1),
        "same_lower": (1, 0, 1),
        "causal": (3, 0, 1),
        "full": (3, 3, 2),
    },
    (1, 5, 1, 1): {
        "valid": None,
        "same": (2, 2, 1),
        "same_lower": (2, 2, 1),
        "causal": (4, 0, 1),
        "full": (4, 4, 5),
    },
    # nothing but padding
    (0, 3, 1, 1): {"valid": None, "same": None, "same_lower": None, "causal": None, "full": (2, 2, 2)},
    (0, 2, 3, 2): {"valid": None, "same": None, "same_lower": None, "causal": None, "full": (2, 2, 1)},
}


@pytest.mark.parametrize(
    ("sizes", "padding", "expected"),
    [(sizes, name, expected) for sizes, row in NAMED_PADDINGS.items() for name, expected in row.items()],
)
def test_named_padding(sizes, padding, expected):
    L, K, stride, dilation = sizes
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    if expected is None:
        with pytest.raises(ValueError, match="would give L_out="):
            pose((1, 4, L), (8, 4, K), **options)
    else:
        p = pose((1, 4, L), (8, 4, K), **options)
        assert (p.pad_left, p.pad_right, p.L_out) == expected


@pytest.mark.parametrize("row", NAMED_PADDINGS.values())
def test_the_table_of_paddings_is_complete(row):
    assert list(row) == list(PADDINGS)


# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, (0, 0)),
        (2, (2, 2)),
        ((2,), (2, 2)),
        ([2], (2, 2)),
        ((1, 2), (1, 2)),
        ([0, 3], (0, 3)),
        (np.int64(2), (2, 2)),
        ((np.uint8(1), np.int32(2)), (1, 2)),
        (np.array(2), (2, 2)),
    ],
)
def test_padding_in_numbers(padding, expected):
    p = pose(padding=padding)
    assert (p.pad_left, p.pad_right) == expected
    assert type(p.pad_left) is type(p.pad_right) is int


@pytest.mark.parametrize("value", [2, (2,), [2], np.int64(2), np.uint8(2), (np.int16(2),), np.array(2)])
@pytest.mark.parametrize("name", ["stride", "dilation", "groups"])
def test_counts(name, value):
    p = pose((2, 8, 100), (6, 4 if name == "groups" else 8, 3), **{name: value})
    assert getattr(p, name) == 2
    assert type(getattr(p, name)) is int


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "data_format", "sizes"),
    [
        # N, C_in, L_in, C_out, K, groups, channels_last
        ((2, 6, 100), (8, 3, 5), "NCW", (2, 6, 100, 8, 5, 2, False)),
        ((6, 100), (8, 3, 5), "NCW", (1, 6, 100, 8, 5, 2, False)),
        ((2, 100, 6), (5, 3, 8), "NWC", (2, 6, 100, 8, 5, 2, True)),
        ((100, 6), (5, 3, 8), "NWC", (1, 6, 100, 8, 5, 2, True)),
        ((100,), (5,), "NCW", (1, 1, 100, 1, 5, 1, False)),
        ((7, 100), (5,), "NCW", (7, 1, 100, 1, 5, 1, False)),
        ((2, 3, 4, 100), (5,), "NCW", (24, 1, 100, 1, 5, 1, False)),
        ((2, 0, 100), (5,), "NCW", (0, 1, 100, 1, 5, 1, False)),
        ((2, 3, 100), (5,), "NWC", (6, 1, 100, 1, 5, 1, False)),
    ],
)
def test_shapes(x_shape, w_shape, data_format, sizes):
    p = pose(x_shape, w_shape, groups=sizes[5], data_format=data_format)
    assert (p.N, p.C_in, p.L_in, p.C_out, p.K, p.groups, p.channels_last) == sizes


def test_derived_numbers():
    p = pose((2, 6, 20), (8, 3, 5), (8,), stride=3, padding=(1, 2), dilation=2, groups=2)
    assert (p.K_span, p.L_out, p.C_in_g, p.C_out_g) == (9, 5, 3, 4)
    assert (p.x_shape, p.w_shape, p.out_shape) == ((2, 6, 20), (8, 3, 5), (2, 8, 5))
    assert p.flops == 2 * 2 * 8 * 5 * 3 * 5
    assert p.has_bias


def test_shapes_of_the_other_layout():
    p = pose((20, 6), (5, 3, 8), groups=2, data_format="NWC")
    assert (p.x_shape, p.w_shape, p.out_shape) == ((1, 20, 6), (5, 3, 8), (1, 16, 8))
    assert not p.has_bias


def test_a_filter_has_the_shapes_of_one_channel():
    p = pose((2, 3, 20), (5,))
    assert (p.x_shape, p.w_shape, p.out_shape) == ((6, 1, 20), (1, 1, 5), (6, 1, 16))


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        ("zeros", "zeros"),
        ("constant", "zeros"),
        ("reflect", "reflect"),
        ("replicate", "replicate"),
        ("edge", "replicate"),
        ("circular", "circular"),
        ("wrap", "circular"),
        ("symmetric", "symmetric"),
    ],
)
def test_padding_mode_aliases(alias, canonical):
    assert pose(padding_mode=alias).padding_mode == canonical
    assert alias in PADDING_MODES


@pytest.mark.parametrize(
    ("alias", "channels_last"),
    [("NCW", False), ("channels_first", False), ("NWC", True), ("channels_last", True)],
)
def test_data_format_aliases(alias, channels_last):
    assert pose((2, 9, 9), (9, 9, 9), data_format=alias).channels_last is channels_last
    assert alias in DATA_FORMATS


@pytest.mark.parametrize("bias_shape", [(), (1,)])
def test_bias_of_one_filter(bias_shape):
    assert pose((100,), (5,), bias_shape).has_bias


def test_empty_batch():
    p = pose((0, 4, 100))
    assert p.out_shape == (0, 8, 98)
    assert p.flops == 0


def test_empty_length():
    assert pose((2, 4, 0), padding=(1, 2)).out_shape == (2, 8, 1)
    assert pose((2, 4, 0), padding="full").out_shape == (2, 8, 2)
    assert pose((0,), (1,), padding=1).L_out == 2


def test_padding_may_be_wider_than_the_input():
    assert pose((1, 4, 1), padding=50, padding_mode="reflect").L_out == 99


@pytest.mark.parametrize(
    ("x", "w", "bias", "dtype", "compute_dtype"),
    [
        ("f4", "f4", None, "f4", "f4"),
        ("f4", "f8", None, "f8", "f8"),
        ("f4", "f4", "f8", "f8", "f8"),
        ("f2", "f2", None, "f2", "f4"),
        ("f2", "f2", "f4", "f4", "f4"),
        (">f4", ">f4", None, "f4", "f4"),
        (">i2", "i1", None, "i2", "i2"),
        ("i1", "u1", None, "i2", "i2"),
        ("i8", "u8", None, "f8", "f8"),
        ("i4", "f4", None, "f8", "f8"),
        ("i2", "f2", None, "f4", "f4"),
        ("c8", "f4", None, "c8", "c8"),
        ("c8", "f8", None, "c16", "c16"),
        ("q", "q", None, "i8", "i8"),
    ],
)
def test_dtypes(x, w, bias, dtype, compute_dtype):
    p = pose(bias_shape=bias and (8,), x=x, w=w, bias=bias)
    assert (p.dtype, p.compute_dtype) == (np.dtype(dtype), np.dtype(compute_dtype))
    assert p.dtype.isnative
    assert (p.x_dtype, p.w_dtype) == (np.dtype(x), np.dtype(w))  # as given


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_names(name):
    assert pose(activation=name).activation == name


@pytest.mark.parametrize("dtype", ["f2", "f8", "i4", "u1", "c8"])
def test_any_function_is_an_activation_of_anything(dtype):
    assert pose(x=dtype, w=dtype, activation=np.square).activation == "callable"


def test_relu_of_integers():
    assert pose(x="i4", w="i4", activation="relu").activation == "relu"


def test_a_problem_is_a_value():
    p = pose(padding="same", stride=(2,))
    assert p == pose(padding=(0, 1), stride=np.int64(2), padding_mode="constant")
    assert len({p, pose(padding=(0, 1), stride=2)}) == 1
    assert pickle.loads(pickle.dumps(p)) == p
    assert p != pose(padding="same", stride=2, x=">f4")
    with pytest.raises(AttributeError):
        p.stride = 3


def test_str_is_one_readable_line():
    p = pose((2, 100, 4), (3, 2, 8), (8,), x=">f4", groups=2, padding="same", data_format="NWC", activation="relu")
    assert str(p) == (
        "NWC x (2, 100, 4) >f4, w (3, 2, 8) float32 -> (2, 100, 8) float32; "
        "stride=1 dilation=1 groups=2 padding=(1, 1) zeros bias=True activation=relu"
    )


# --- what is refused -------------------------------------------------------------------------------------------------

PADDING_FITS = (
    "padding must be an int >= 0 (to crop, slice x), a pair (left, right)"
    " or one of valid, same, same_lower, causal, full, got "
)
DILATION_FITS = "dilation must be an int >= 1 (1 is a dense kernel), got "
COMPUTES = "conv1d computes with float16/32/64, complex64/128 and integers: "

TYPE_ERRORS = [
    # equal to legal values, hash included, and yet not ints
    ({"stride": 1.0}, "stride must be an int >= 1, got 1.0"),
    ({"stride": True}, "stride must be an int >= 1, got True"),
    ({"stride": np.True_}, f"stride must be an int >= 1, got {np.True_!r}"),
    ({"stride": np.float64(1)}, f"stride must be an int >= 1, got {np.float64(1)!r}"),
    ({"stride": (1.0,)}, "stride must be an int >= 1, got (1.0,)"),
    ({"dilation": 1.0}, DILATION_FITS + "1.0"),
    ({"dilation": True}, DILATION_FITS + "True"),
    ({"groups": 1.0}, "groups must be an int >= 1, got 1.0"),
    ({"groups": True}, "groups must be an int >= 1, got True"),
    ({"padding": False}, PADDING_FITS + "False"),
    ({"padding": 0.0}, PADDING_FITS + "0.0"),
    ({"padding": (1.0, 1)}, PADDING_FITS + "(1.0, 1)"),
    ({"padding": (1, True)}, PADDING_FITS + "(1, True)"),
    # of another type altogether
    ({"stride": "2"}, "stride must be an int >= 1, got '2'"),
    ({"stride": None}, "stride must be an int >= 1, got None"),
    ({"stride": np.array([2])}, "stride must be an int >= 1, got array([2])"),
    ({"padding": None}, PADDING_FITS + "None"),
    ({"padding": [(1, 2)]}, PADDING_FITS + "[(1, 2)]"),
    ({"padding": ("same",)}, PADDING_FITS + "('same',)"),
    (
        {"padding_mode": None},
        "padding_mode must be one of zeros, reflect, replicate, circular, symmetric, constant, edge, wrap, got None",
    ),
    ({"data_format": True}, "data_format must be one of NCW, channels_first, NWC, channels_last, got True"),
    ({"data_format": ["NCW"]}, "data_format must be one of NCW, channels_first, NWC, channels_last, got ['NCW']"),
    (
        {"activation": 1},
        "activation must be None, a function or one of"
        " relu, silu, gelu, tanh, sigmoid, softplus, leaky_relu, elu, got 1",
    ),
    # dtypes
    ({"x": "?"}, f"x has dtype bool, {COMPUTES}pass x.astype(np.int32)"),
    ({"w": "O"}, f"w has dtype object, {COMPUTES}pass w.astype(np.float64)"),
    ({"w": "g"}, f"w has dtype {np.dtype('g')}, {COMPUTES}pass w.astype(np.float64)"),
    ({"w": "G"}, f"w has dtype {np.dtype('G')}, {COMPUTES}pass w.astype(np.complex128)"),
    ({"x": "M8[s]"}, f"x has dtype datetime64[s], {COMPUTES}convert it to one of them"),
    ({"x": "m8[s]"}, f"x has dtype timedelta64[s], {COMPUTES}convert it to one of them"),
    ({"x": "U3"}, f"x has dtype <U3, {COMPUTES}convert it to one of them"),
    ({"x": "V4"}, f"x has dtype |V4, {COMPUTES}convert it to one of them"),
    ({"bias_shape": (8,), "bias": "?"}, f"bias has dtype bool, {COMPUTES}pass bias.astype(np.int32)"),
    (
        {"x": "i4", "w": "i4", "activation": "gelu"},
        'activation="gelu" of a result of dtype int32 is undefined: cast x, or pass a function',
    ),
    (
        {"x": "u1", "w": "u1", "activation": "elu"},
        'activation="elu" of a result of dtype uint8 is undefined: cast x, or pass a function',
    ),
    (
        {"x": "c8", "activation": "relu"},
        'activation="relu" of a result of dtype complex64 is undefined: cast x, or pass a function',
    ),
]

NWC_HINT = 'data_format="NWC" (w is then (K, C_in/groups, C_out))'

VALUE_ERRORS = [
    # numbers out of range, or too many of them
    ({"stride": 0}, "stride must be an int >= 1, got 0"),
    ({"stride": -1}, "stride must be an int >= 1, got -1"),
    ({"stride": ()}, "stride must be an int >= 1, got ()"),
    ({"stride": (1, 1)}, "stride must be an int >= 1, got (1, 1)"),
    ({"dilation": 0}, DILATION_FITS + "0"),
    ({"groups": np.int8(0)}, f"groups must be an int >= 1, got {np.int8(0)!r}"),
    ({"padding": -1}, PADDING_FITS + "-1"),
    ({"padding": (2, -1)}, PADDING_FITS + "(2, -1)"),
    ({"padding": (1, 2, 3)}, PADDING_FITS + "(1, 2, 3)"),
    ({"padding": []}, PADDING_FITS + "[]"),
    (
        {"stride": 2**41},
        "stride, dilation and the padded length may be at most 2**40, got NCW x (2, 4, 100) float32, w (8, 4, 3)"
        " float32 -> (2, 8, 1) float32; stride=2199023255552 dilation=1 groups=1 padding=(0, 0) zeros"
        " bias=False activation=None",
    ),
    (
        {"w_shape": (8, 4, 1), "dilation": 2**41},
        "stride, dilation and the padded length may be at most 2**40, got NCW x (2, 4, 100) float32, w (8, 4, 1)"
        " float32 -> (2, 8, 100) float32; stride=1 dilation=2199023255552 groups=1 padding=(0, 0) zeros"
        " bias=False activation=None",
    ),
    (
        {"padding": (2**40, 0)},
        "stride, dilation and the padded length may be at most 2**40, got NCW x (2, 4, 100) float32, w (8, 4, 3)"
        " float32 -> (2, 8, 1099511627874) float32; stride=1 dilation=1 groups=1 padding=(1099511627776, 0) zeros"
        " bias=False activation=None",
    ),
    # names
    (
        {"padding": "SAME"},
        "padding must be an int, a pair (left, right) or one of valid, same, same_lower, causal, full, got 'SAME';"
        " did you mean 'same'?",
    ),
    (
        {"padding": "zeros"},
        "padding must be an int, a pair (left, right) or one of valid, same, same_lower, causal, full, got 'zeros';"
        " did you mean padding_mode='zeros'?",
    ),
    (
        {"padding_mode": "same"},
        "padding_mode must be one of zeros, reflect, replicate, circular, symmetric, constant, edge, wrap,"
        " got 'same'; did you mean padding='same'?",
    ),
    (
        {"padding_mode": "mirror"},
        "padding_mode must be one of zeros, reflect, replicate, circular, symmetric, constant, edge, wrap,"
        " got 'mirror'; did you mean 'reflect'?",
    ),
    (
        {"data_format": "NLC"},
        "data_format must be one of NCW, channels_first, NWC, channels_last, got 'NLC'; did you mean 'NWC'?",
    ),
    (
        {"activation": "callable"},
        "activation must be None, a function or one of"
        " relu, silu, gelu, tanh, sigmoid, softplus, leaky_relu, elu, got 'callable'",
    ),
    (
        {"activation": "linear"},
        "activation must be None, a function or one of"
        " relu, silu, gelu, tanh, sigmoid, softplus, leaky_relu, elu, got 'linear'; did you mean None?",
    ),
    # ranks
    ({"x_shape": ()}, "x is a scalar: it needs an axis to slide along, or to be (N, C_in, L) or (C_in, L)"),
    (
        {"x_shape": (), "w_shape": (3,)},
        "x is a scalar: it needs an axis to slide along, or to be (N, C_in, L) or (C_in, L)",
    ),
    (
        {"w_shape": ()},
        "w must be (C_out, C_in/groups, K), or (K,) for one filter along the last axis of x, got shape ()",
    ),
    (
        {"w_shape": (1, 8, 4, 3)},
        "w must be (C_out, C_in/groups, K), or (K,) for one filter along the last axis of x, got shape (1, 8, 4, 3)",
    ),
    (
        {"x_shape": (100,)},
        "x must be (N, C_in, L) or (C_in, L) to go with w of shape (8, 4, 3), got shape (100,)",
    ),
    (
        {"x_shape": (100,), "w_shape": (8, 1, 3)},
        "x must be (N, C_in, L) or (C_in, L) to go with w of shape (8, 1, 3), got shape (100,)."
        " Did you mean x[None, :]?",
    ),
    (
        {"x_shape": (100,), "w_shape": (3, 1, 8), "data_format": "NWC"},
        "x must be (N, L, C_in) or (L, C_in) to go with w of shape (3, 1, 8), got shape (100,)."
        " Did you mean x[:, None]?",
    ),
    (
        {"x_shape": (5, 2, 4, 100)},
        "x must be (N, C_in, L) or (C_in, L) to go with w of shape (8, 4, 3), got shape (5, 2, 4, 100)."
        " Did you mean x.reshape(-1, *x.shape[-2:])?",
    ),
    (
        {"w_shape": (4, 3)},
        "w must be (C_out, C_in/groups, K), or (K,) for one filter along the last axis of x, got shape (4, 3)."
        " Did you mean w[:, None, :] with groups=4 or w[None]?",
    ),
    (
        {"w_shape": (9, 4)},
        "w must be (C_out, C_in/groups, K), or (K,) for one filter along the last axis of x, got shape (9, 4)."
        " Did you mean w[:, :, None]?",
    ),
    # channels
    (
        {"x_shape": (2, 6, 100)},
        "x of shape (2, 6, 100) and w of shape (8, 4, 3) in NCW do not agree:"
        " x has C_in=6 channels, w with C_in/groups=4 and groups=1 takes 4."
        " It takes x (N, 4, L) or (4, L), or w (C_out, 6, K)",
    ),
    (
        {"x_shape": (2, 100, 4)},
        "x of shape (2, 100, 4) and w of shape (8, 4, 3) in NCW do not agree:"
        " x has C_in=100 channels, w with C_in/groups=4 and groups=1 takes 4."
        " It takes x (N, 4, L) or (4, L), or w (C_out, 100, K)."
        f" Did you mean {NWC_HINT} or x.swapaxes(-1, -2)?",
    ),
    (
        {"x_shape": (100, 4), "w_shape": (8, 4, 300)},
        # NWC reads K=8 and fits; x.swapaxes leaves K=300, which does not
        "x of shape (100, 4) and w of shape (8, 4, 300) in NCW do not agree:"
        " x has C_in=100 channels, w with C_in/groups=4 and groups=1 takes 4."
        " It takes x (N, 4, L) or (4, L), or w (C_out, 100, K)."
        f" Did you mean {NWC_HINT}?",
    ),
    (
        {"x_shape": (2, 8, 100), "w_shape": (8, 1, 3)},
        "x of shape (2, 8, 100) and w of shape (8, 1, 3) in NCW do not agree:"
        " x has C_in=8 channels, w with C_in/groups=1 and groups=1 takes 1."
        " It takes x (N, 1, L) or (1, L), or w (C_out, 8, K)."
        " Did you mean groups=8?",
    ),
    (
        {"w_shape": (8, 3, 4)},
        "x of shape (2, 4, 100) and w of shape (8, 3, 4) in NCW do not agree:"
        " x has C_in=4 channels, w with C_in/groups=3 and groups=1 takes 3."
        " It takes x (N, 3, L) or (3, L), or w (C_out, 4, K)."
        " Did you mean w.transpose(0, 2, 1)?",
    ),
    (
        {"x_shape": (2, 100, 6), "w_shape": (3, 2, 9), "groups": 1, "data_format": "NWC"},
        "x of shape (2, 100, 6) and w of shape (3, 2, 9) in NWC do not agree:"
        " x has C_in=6 channels, w with C_in/groups=2 and groups=1 takes 2."
        " It takes x (N, L, 2) or (L, 2), or w (K, 6, C_out)."
        " Did you mean groups=3?",
    ),
    (
        {"x_shape": (2, 8, 100), "groups": 4},
        "x of shape (2, 8, 100) and w of shape (8, 4, 3) in NCW do not agree:"
        " x has C_in=8 channels, w with C_in/groups=4 and groups=4 takes 16."
        " It takes x (N, 16, L) or (16, L), or w (C_out, 2, K)."
        " Did you mean groups=2?",
    ),
    (
        {"w_shape": (9, 4, 3), "groups": 3},
        "groups=3 does not divide C_in=4 (x of shape (2, 4, 100) in NCW). Did you mean groups=1?",
    ),
    (
        {"groups": 3},
        "groups=3 does not divide C_out=8 (w of shape (8, 4, 3) in NCW). Did you mean groups=1?",
    ),
    (
        {"w_shape": (9, 2, 3), "groups": 2},
        "groups=2 does not divide C_out=9 (w of shape (9, 2, 3) in NCW)",
    ),
    (
        {"x_shape": (100,), "w_shape": (3,), "groups": 2},
        "groups=2 does not divide C_out=1 (w of shape (3,) in NCW)",
    ),
    # empty where nothing may be
    (
        {"x_shape": (2, 0, 100), "w_shape": (8, 0, 3)},
        "w of shape (8, 0, 3) in NCW has C_in/groups=0: only the batch and the length may be empty",
    ),
    (
        {"x_shape": (2, 0, 100)},
        "x of shape (2, 0, 100) in NCW has C_in=0: only the batch and the length may be empty",
    ),
    (
        {"w_shape": (0, 4, 3)},
        "w of shape (0, 4, 3) in NCW has C_out=0: only the batch and the length may be empty",
    ),
    (
        {"w_shape": (8, 4, 0)},
        "w of shape (8, 4, 0) in NCW has K=0: only the batch and the length may be empty",
    ),
    (
        {"x_shape": (100,), "w_shape": (0,)},
        "w of shape (0,) in NCW has K=0: only the batch and the length may be empty",
    ),
    # bias
    (
        {"bias_shape": (4,)},
        "bias must have shape (C_out,) = (8,) to go with w of shape (8, 4, 3), got (4,)",
    ),
    (
        {"bias_shape": ()},
        "bias must have shape (C_out,) = (8,) to go with w of shape (8, 4, 3), got ()",
    ),
    (
        {"bias_shape": (1, 8, 1)},
        "bias must have shape (C_out,) = (8,) to go with w of shape (8, 4, 3), got (1, 8, 1)."
        " Did you mean bias.ravel()?",
    ),
    (
        # weights of PyTorch's order, in a call of TensorFlow's: only the bias gives it away
        {"x_shape": (2, 100, 4), "data_format": "NWC", "bias_shape": (8,)},
        "bias must have shape (C_out,) = (3,) to go with w of shape (8, 4, 3), got (8,)."
        " Did you mean w.transpose(2, 1, 0)?",
    ),
    (
        {"x_shape": (100,), "w_shape": (3,), "bias_shape": (3,)},
        "bias must have shape (C_out,) = (1,) to go with w of shape (3,), got (3,)",
    ),
    # lengths
    (
        {"x_shape": (4,), "w_shape": (5,)},
        "the kernel does not fit: L=4, padding (0, 0), K=5, dilation=1 (K_span=5), stride=1 would give L_out=0."
        ' It takes 1 more in L or padding. Did you mean conv1d(w, x) or padding="same" or padding="causal"?',
    ),
    (
        {"x_shape": (2, 4, 10), "dilation": 9, "padding": (3, 1), "stride": 2},
        "the kernel does not fit: L=10, padding (3, 1), K=3, dilation=9 (K_span=19), stride=2 would give L_out=-2."
        ' It takes 5 more in L or padding. Did you mean padding="same" or padding="causal"?',
    ),
    (
        {"x_shape": (2, 4, 0)},
        "the kernel does not fit: L=0, padding (0, 0), K=3, dilation=1 (K_span=3), stride=1 would give L_out=-2."
        " It takes 3 more in L or padding",
    ),
    (
        {"x_shape": (2, 4, 0), "padding": 2, "padding_mode": "wrap"},
        'padding_mode="circular" finds nothing to repeat in L=0: use padding_mode="zeros"',
    ),
]


@pytest.mark.parametrize(("arguments", "message"), TYPE_ERRORS, ids=[str(a) for a, _ in TYPE_ERRORS])
def test_type_errors(arguments, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        pose(**arguments)


@pytest.mark.parametrize(("arguments", "message"), VALUE_ERRORS, ids=[str(a) for a, _ in VALUE_ERRORS])
def test_value_errors(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        pose(**arguments)
    assert type(caught.value) is ValueError


def test_a_legal_call_does_not_excuse_an_equal_one():
    assert pose(stride=1, padding=(1, 1)) == pose(stride=1, padding=(1, 1))
    for options in ({"stride": 1.0}, {"stride": True}, {"padding": (1.0, 1)}):
        with pytest.raises(TypeError):
            pose(**options)


# --- arrays ----------------------------------------------------------------------------------------------------------


class Arraylike:
    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0, dtype=dtype)


class Stubborn:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("use .surrender()")


def test_an_array_is_not_copied():
    a = np.arange(6.0)[::-2]
    assert as_array(a, "x") is a


@pytest.mark.parametrize("subclass", [np.matrix, np.memmap, np.recarray])
def test_a_subclass_becomes_a_plain_view(subclass):
    a = np.arange(6.0).reshape(2, 3)
    plain = as_array(a.view(subclass), "x")
    assert type(plain) is np.ndarray
    assert plain.shape == (2, 3)
    assert np.shares_memory(plain, a)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [([0, 1, 2], "int"), ((0.0, 1.0, 2.0), "f8"), (range(3), "int"), ([0, 1, 2j], "c16"), (Arraylike(), "f8")],
)
def test_arraylikes(value, dtype):
    a = as_array(value, "x")
    assert a.dtype == np.dtype(dtype)
    assert a.shape == (3,)


def test_a_scalar_has_rank_0_for_describe_to_judge():
    assert as_array(0.5, "bias").shape == ()


def test_byte_order_is_kept():
    assert as_array(np.zeros(3, ">f4"), "x").dtype == np.dtype(">f4")


HOLDS = "w must hold numbers, in an array or in nested lists of equal lengths, got "


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            np.ma.array([1.0, 2.0]),
            TypeError,
            "w is a masked array, whose mask would be lost: pass w.filled(0) or w.data",
        ),
        (None, TypeError, f"{HOLDS}None"),
        ([1, None], TypeError, f"{HOLDS}None"),
        (np.array([[1, 2], [3]], object), TypeError, f"{HOLDS}[1, 2]"),
        (np.array([1.5, 2], object), TypeError, f"w has dtype object, {COMPUTES}pass w.astype(np.float64)"),
        ([True], TypeError, f"w has dtype bool, {COMPUTES}pass w.astype(np.int32)"),
        (["a"], TypeError, f"w has dtype <U1, {COMPUTES}convert it to one of them"),
        (np.zeros(2, "g"), TypeError, f"w has dtype {np.dtype('g')}, {COMPUTES}pass w.astype(np.float64)"),
        (np.zeros(2, "f4,i4"), TypeError, f"w has dtype {np.dtype('f4,i4')}, {COMPUTES}convert it to one of them"),
        (Stubborn(), TypeError, "w, of type Stubborn, does not convert to a NumPy array: use .surrender()"),
    ],
)
def test_refused_arrays(value, error, message):
    with pytest.raises(error) as caught:
        as_array(value, "w")
    assert str(caught.value) == message


def test_ragged_lists():
    with pytest.raises(ValueError, match=r"x, of type list, does not convert to a NumPy array: .*inhomogeneous"):
        as_array([[1, 2], [3]], "x")


def test_third_party_dtypes_are_not_taken_for_numpys():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in ("bfloat16", "float8_e4m3b11fnuz", "int4"):
        with pytest.raises(TypeError, match=f"x has dtype {name}, conv1d computes with"):
            as_array(np.zeros(3, getattr(ml_dtypes, name)), "x")


def test_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(3.0)
    assert np.shares_memory(as_array(tensor, "x"), tensor.numpy())
    with pytest.raises(TypeError, match=r"x, of type Tensor, .* requires grad\. Use tensor\.detach\(\)\.numpy\(\)"):
        as_array(tensor.requires_grad_(), "x")
    with pytest.raises(TypeError, match=r"x, of type Tensor, .*BFloat16"):
        as_array(torch.zeros(3, dtype=torch.bfloat16), "x")


F4 = np.dtype("f4")


@pytest.mark.parametrize(
    "out",
    [np.empty((2, 3), F4), np.empty((3, 2), F4).T, np.empty((2, 6), F4)[:, ::-2], np.empty((2, 3), F4).view(np.matrix)],
)
def test_out_may_have_any_strides(out):
    check_out(out, (2, 3), F4)


def locked(shape, dtype):
    a = np.empty(shape, dtype)
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([[0.0] * 3] * 2, TypeError, "out must be a NumPy array, got list"),
        (np.float32(0), TypeError, "out must be a NumPy array, got float32"),
        (
            np.ma.zeros((2, 3), F4),
            TypeError,
            "out is a masked array, whose mask would go stale:",
        ),
        (np.empty((2, 3)), TypeError, "out has dtype float64, not float32"),
        (np.empty((2, 3), F4.newbyteorder("S")), TypeError, f"out has dtype {F4.newbyteorder('S')}, not {F4}"),
        (np.empty((3, 2), F4), ValueError, "out has shape (3, 2), not (2, 3)"),
        (np.empty((1, 2, 3), F4), ValueError, "out has shape (1, 2, 3), not (2, 3)"),
        (locked((2, 3), F4), ValueError, "out is read-only"),
    ],
)
def test_refused_out(out, error, message):
    with pytest.raises(error) as caught:
        check_out(out, (2, 3), F4)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(": pass np.empty((2, 3), np.float32)")
