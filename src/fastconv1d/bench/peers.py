"""The libraries that fastconv1d is timed beside, each called as its own users would.

A peer imports its library when it is asked for.  It gets x and w in the data format that its users keep them in, puts
them once, with the weights, where the library wants them, and returns the call that is timed, NumPy arrays out.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..problem import Conv1dProblem

Array = np.ndarray[Any, Any]
Call = Callable[[], Array]
Prepare = Callable[[Conv1dProblem, Array, Array], Call]


@dataclass(frozen=True)
class Peer:
    title: str
    #: What is imported, and what pip installs for it.
    modules: tuple[str, ...]
    #: Import it, limit it to so many threads, and return what prepares a call; NotImplementedError says what it lacks.
    connect: Callable[[int], Prepare]
    #: The data format of its users; None is that of the problem.
    data_format: str | None = "NCW"

    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


def _options(p: Conv1dProblem) -> dict[str, Any]:
    return {
        "stride": p.stride,
        "padding": (p.pad_left, p.pad_right),
        "dilation": p.dilation,
        "groups": p.groups,
        "data_format": "NWC" if p.channels_last else "NCW",
    }


def _conv1d(threads: int) -> Prepare:
    fastconv1d: Any = importlib.import_module("fastconv1d")

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        options = _options(p)
        return lambda: fastconv1d.conv1d(x, w, **options)

    return prepare


def _prepared(threads: int) -> Prepare:
    fastconv1d: Any = importlib.import_module("fastconv1d")

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        layer = fastconv1d.Conv1d(w, **_options(p))
        return lambda: layer(x)

    return prepare


def _numpy(threads: int) -> Prepare:
    """np.correlate for one filter on one channel; else a view of all windows, and a matrix product for each group."""

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        pads = ((0, 0), (0, 0), (p.pad_left, p.pad_right))

        def correlate() -> Array:
            return np.stack([np.correlate(row[0], w[0, 0], "valid") for row in np.pad(x, pads)])[:, None]

        def multiply() -> Array:
            windows = sliding_window_view(np.pad(x, pads), p.K_span, axis=2)[:, :, :: p.stride, :: p.dilation]
            columns = windows.reshape(p.N, p.groups, p.C_in_g, p.L_out, p.K).swapaxes(2, 3)
            rows = columns.reshape(p.N, p.groups, p.L_out, p.C_in_g * p.K)
            filters = w.reshape(p.groups, p.C_out_g, p.C_in_g * p.K)
            products: Array = filters @ rows.swapaxes(2, 3)
            return products.reshape(p.out_shape)

        return correlate if p.C_in == p.C_out == p.stride == p.dilation == 1 else multiply

    return prepare


def _scipy(threads: int) -> Prepare:
    from scipy import signal

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        if not p.C_in == p.C_out == p.groups or p.stride > 1 or p.dilation > 1:
            raise NotImplementedError("scipy.signal has one filter a channel, no stride and no dilation")
        if p.dtype.kind in "iu" or p.dtype == np.float16:
            raise NotImplementedError(f"scipy.signal.oaconvolve makes other numbers of {p.dtype}")
        filters = np.ascontiguousarray(w[None, :, 0, ::-1])
        pads = ((0, 0), (0, 0), (p.pad_left, p.pad_right))
        return lambda: signal.oaconvolve(np.pad(x, pads), filters, "valid", axes=2)

    return prepare


def _torch(threads: int) -> Prepare:
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        tensors = torch.from_numpy(x), torch.from_numpy(w)
        rest = (p.dilation, p.groups)
        if p.pad_left == p.pad_right:
            return lambda: functional.conv1d(*tensors, None, p.stride, p.pad_left, *rest).numpy()

        def pad_first() -> Array:
            padded = functional.pad(tensors[0], (p.pad_left, p.pad_right))
            y: Array = functional.conv1d(padded, tensors[1], None, p.stride, 0, *rest).numpy()
            return y

        return pad_first

    return prepare


def _onnxruntime(threads: int) -> Prepare:
    import onnxruntime
    from onnx import helper, numpy_helper

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        node = helper.make_node(
            "Conv", ["x", "w"], ["y"], kernel_shape=[p.K], strides=[p.stride], dilations=[p.dilation], group=p.groups,
            pads=[p.pad_left, p.pad_right],
        )  # fmt: skip
        number = helper.np_dtype_to_tensor_dtype(p.dtype)
        x_info = helper.make_tensor_value_info("x", number, list(x.shape))
        y_info = helper.make_tensor_value_info("y", number, None)
        graph = helper.make_graph([node], "conv1d", [x_info], [y_info], [numpy_helper.from_array(w, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": x})[0]

    return prepare


def _jax(threads: int) -> Prepare:
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)  # or float64 becomes float32

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        def convolve(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x, w, (p.stride,), [(p.pad_left, p.pad_right)], rhs_dilation=(p.dilation,),
                dimension_numbers=("NHC", "HIO", "NHC"), feature_group_count=p.groups,
            )  # fmt: skip

        x, w = jax.device_put(x), jax.device_put(w)
        compiled = jax.jit(convolve)
        return lambda: np.asarray(compiled(x, w))

    return prepare


def _tensorflow(threads: int) -> Prepare:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)

    def prepare(p: Conv1dProblem, x: Array, w: Array) -> Call:
        x, w = tf.constant(x), tf.constant(w)
        pads = [[0, 0], [p.pad_left, p.pad_right], [0, 0]]

        def convolve(x: Any, w: Any) -> Any:
            return tf.nn.conv1d(tf.pad(x, pads), w, p.stride, "VALID", dilations=p.dilation)

        compiled = tf.function(convolve)
        return lambda: compiled(x, w).numpy()

    return prepare


#: conv1d, and the layer that has prepared its weights.
OURS = {
    "conv1d": Peer("conv1d", ("fastconv1d",), _conv1d, None),
    "Conv1d": Peer("Conv1d", ("fastconv1d",), _prepared, None),
}

PEERS = {
    "numpy": Peer("NumPy", ("numpy",), _numpy),
    "scipy": Peer("SciPy", ("scipy",), _scipy),
    "torch": Peer("PyTorch", ("torch",), _torch),
    "onnxruntime": Peer("ONNX Runtime", ("onnx", "onnxruntime"), _onnxruntime),
    "jax": Peer("JAX", ("jax",), _jax, "NWC"),
    "tensorflow": Peer("TensorFlow", ("tensorflow",), _tensorflow, "NWC"),
}
