"""What Numba has no words for: the only place that speaks LLVM.

    vectors          one vector type at one place in a function: its loads, stores and multiply-adds
    tiles            the register tile that direct, depthwise and winograd sum in: its shapes, its code, its yardstick
    complex_tiles    the one that fft sums spectra in
    arithmetic       what else is computed with whole vectors: matrices times them, butterflies, whether all is finite
    moves            vectors that only change places, or their lanes: copied, zipped, transposed
    arrays           views that hold no reference, machine code called by its address, the bits of a number
    atomics          words that several threads read and write

The others build on `vectors`, and not on each other.
"""
