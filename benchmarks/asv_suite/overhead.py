"""What a call costs beside its arithmetic: Python around the smallest problem, and memory."""

import tracemalloc

from .common import ready


class CallOverhead:
    def setup(self):
        self.call, _ = ready("numpy-toy")

    def time_smallest_call(self):
        self.call()


class Memory:
    """Bytes at the peak of a call; the result is in them, and what the kernels need beside it."""

    params = ("mel-dense", "whisper-tiny-conv2", "mamba-prefill", "wavenet-d512-NWC")
    param_names = ("problem",)
    unit = "bytes"
    timeout = 120

    def setup(self, problem):
        self.call, _ = ready(problem)

    def track_peak(self, problem):
        tracemalloc.start()
        try:
            result = self.call()
            peak = tracemalloc.get_traced_memory()[1]
            return peak if peak > result.nbytes else peak + result.nbytes  # large results are not Python's memory
        finally:
            tracemalloc.stop()
