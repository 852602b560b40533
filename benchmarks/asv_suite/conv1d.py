"""Warm calls of conv1d on the named problems of each kind."""

import timeit

from .common import ready, suite


class _Suite:
    """Times a call on each of some problems, on one thread."""

    param_names = ("problem",)
    threads = 1
    timeout = 120

    def setup(self, problem):
        self.call, _ = ready(problem, self.threads)

    def time_conv1d(self, problem):
        self.call()


class Dense(_Suite):
    params = suite("dense")


class Dilated(_Suite):
    params = suite("dilated")


class Strided(_Suite):
    params = suite("strided")


class Grouped(_Suite):
    params = suite("grouped")


class Depthwise(_Suite):
    params = suite("depthwise")


class Causal(_Suite):
    params = suite("causal")


class Float64(_Suite):
    params = suite("float64")


class NWC(_Suite):
    params = suite("NWC")


class Small(_Suite):
    params = suite("small")


class LongKernels(_Suite):
    params = suite("long-kernels")


class TwoThreads(_Suite):
    params = suite("dense")
    threads = 2


class _PerMultiplyAdd:
    """What one multiply-add takes; asv reads larger as worse, so this is no GFLOP/s."""

    param_names = ("problem",)
    unit = "ps"
    timeout = 120

    def setup(self, problem):
        self.call, self.multiply_adds = ready(problem)

    def track_multiply_add(self, problem):
        timer = timeit.Timer(self.call)
        repeats, _ = timer.autorange()
        return min(timer.repeat(5, repeats)) / repeats / self.multiply_adds * 1e12


class DensePerMultiplyAdd(_PerMultiplyAdd):
    params = suite("dense")


class DepthwisePerMultiplyAdd(_PerMultiplyAdd):
    params = suite("depthwise")
