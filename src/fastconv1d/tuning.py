"""Every tuned number, with the machine, the day and how it was found.

The bits of a result depend on none of them but CHUNK, which is part of what the direct sum is.
"""

#: Terms that one register sums before they are added to the total.  In units of u * sum|x||w|, on 4000 sums of each
#: kind in float32, one chain over n = 1536 positive terms is off by up to 46, over n = 7680 by up to 72.  Chains of 64,
#: 128 and 256 stay under 10, 9 and 12 up to n = 7680; constant terms, the worst, reach 31, 47 and 69.  A flush costs as
#: much as two steps, which is 1.5 % of 128.  Emerald Rapids, 2026-11-23.
CHUNK = 128

#: Steps of the reduction between two passes over the outputs of a block, a multiple of CHUNK, where times stand in the
#: lanes.  128 to 1024 tried on 384 -> 384 K 3, 512 -> 1536 K 1, 64 -> 64 K 11 and 1280 -> 1536 K 5: 256 and 512 lead,
#: 128 loses 5 to 25 %.  Emerald Rapids, 2026-11-23.
BLOCK_STEPS = 512

#: A long kernel shares its samples among its taps, so its blocks may have CHUNK * K steps, up to this many: each block
#: packs the whole reach of its taps.  1024 to 8192 tried on K 7, 11 and 16: alike but at 256 -> 512 K 16 stride 8,
#: where 1024 leads by 12 %.  Emerald Rapids, 2026-11-23.
LONGEST_BLOCK_STEPS = 1024

#: Rows of a sweep whose operand is kept near.  32 to 64 lead; all rows at once lose up to 5 %, in NWC half of the
#: speed where outputs are many times the inputs (32 -> 512 K 1).  Emerald Rapids, 2026-11-23.
BLOCK_ROWS = 32

#: Outputs of a row in one block, about.  240 to 1920 tried: 480 and more differ by 1 to 3 %, but where weights or
#: channels are few, long blocks gain up to 15 % (128 -> 32 K 1), as memory is read in longer runs.
#: Emerald Rapids, 2026-11-23.
BLOCK_TIMES = 960

#: The most bytes of a packed block, unless one of 8 times has more.  Only taps that are absurdly far apart come near:
#: depthwise in NWC with 32 channels, K 10000 and dilation 900 would take 1.1 GiB, and so takes 40 MiB.
LARGEST_PACKED_BYTES = 16 * 2**20

#: A block that one core computes for longer than this, by the estimate, is cut among its channels, for the sake of
#: SLICE_SECONDS: 2048 -> 2048 K 15 in direct, 512 -> 512 K 5 in int64.
BLOCK_SECONDS = 0.05

#: Results of this many bytes and more start on a cache line; below, finding one costs more than it gains.  Not tuned.
ALIGNED_RESULT_BYTES = 16 * 2**10

#: Results of this many bytes and more are put where an earlier one was (memory.py).  The C library gives smaller ones
#: memory that was used before by itself.
LARGE_RESULT_BYTES = 32 * 2**20

#: A call that takes longer than PARALLEL_SECONDS on one thread goes parallel if it comes within AWAKE_SECONDS after
#: another such call, as the threads still spin then; if it comes later, it must take WAKING_SECONDS.  Both are compared
#: with the estimate of cost.py.  Serial and two threads, us, by the idle
#: time before each call, 64 -> 64 K 3, OpenMP, medians of 40 to 300 (Emerald Rapids, 2 virtual cores, 2026-11-23):
#:
#:     estimate   no idle time   1 ms          10 ms
#:           53     33 /  26       39 /  40     139 / 2436
#:          100     62 /  35       97 /  72      84 / 3051
#:          289    104 /  66      118 /  76     191 / 5760
#:          763    257 / 137      266 / 158     352 / 5836
#:         3036   1061 / 540     1118 / 976    1408 / 2291
#:
#: An empty region took 2 us with no idle time, 6 after 1 ms, 40 after 5 ms, 3800 after 10 ms; with TBB 2, 12, 81, 101.
#: That machine packs threads on one core, where the second waits until the first stops spinning, after 6 ms.  Another
#: (Zen 3, 2 cores) took 119 us after 10 ms, at worst 516, with OpenMP: that is what WAKING_SECONDS is made for.
PARALLEL_SECONDS = 100e-6
AWAKE_SECONDS = 2e-3
WAKING_SECONDS = 1e-3

#: A call that takes longer than this is made in slices of about this long, between which Python sees Ctrl-C.  The first
#: is half of it by the estimate, and those that follow go by the time that it took.
#: Ctrl-C came 4 to 107 ms late in calls of 1 to 19 s, 275 ms where a result of 512 MB was just being made; slices cost
#: 0 to 2.5 % of calls of 76 to 260 ms, 0.1 s as much.  Emerald Rapids, 2026-11-23.
SLICE_SECONDS = 0.05

#: Taps of one part of a kernel of the transforms, at most: twice as many samples of 16 float32 lanes take 1 MiB.
LONGEST_PART = 4096

#: Channels stand in the lanes of transforms where they fill this much of them, else pairs of blocks do.  Not tuned.
FULL_LANES = 0.6

#: What the transforms cost, in multiply-adds of a vector, 0.2 ns each (160 GFLOP/s of direct float32).  One of n takes
#: FFT_PASSES n log2(n), which is 82 to 96 GFLOP/s counted as 5 n log2(n), and FFT_ROWS for each lane.  Packing,
#: turning into the lanes and storing take FFT_MOVES a number, or FFT_STRIDED_MOVES where times are not neighbours in
#: memory; a complex product FFT_PRODUCT, a call of its tile FFT_TILE, a byte of weights that the cache can't hold
#: FFT_READ_BYTES (7.4 GB/s).  A number of the spectra of the weights takes half of a transform and FFT_WEIGHTS, and
#: FFT_WRITTEN_BYTES for each byte that the cache can't hold.  Fitted to 56 random problems for which direct and this
#: differ by less than 3: 0.72 to 1.22 of what was measured for 80 % of them, and the faster is told for 53.
#: Emerald Rapids, 2026-11-23.
FFT_PASSES = 4.7
FFT_ROWS = 180
FFT_MOVES = 0.6
FFT_STRIDED_MOVES = 7
FFT_PRODUCT = 7.3
FFT_TILE = 79
FFT_READ_BYTES = 0.68
FFT_WEIGHTS = 62
FFT_WRITTEN_BYTES = 2.2

#: "auto" uses no algorithm whose error may be larger (Algorithm.units): the contract.
MOST_UNITS = 64

#: The share of L2 for the samples of a block of Winograd's algorithm.  0.06 to 0.75 tried on ten layers: 0.125 to 0.5
#: differ by less than 5 %, 0.06 loses up to 20 %, 0.75 up to 12 %.  Emerald Rapids, 2026-11-23.
SAMPLES_SHARE = 0.375

#: Units of cost.py in a second: two vector FMAs a cycle at 3 GHz.
UNITS_PER_SECOND = 6e9

#: Prices of what the algorithms do, in those units, in either data format.  Fitted in NCW by
#: benchmarks/fit_costs.py --problems 120 --seed 11: by them, the chosen algorithm is within 10 % of the best on 95 % of
#: these problems where weights are prepared, and on 99 % where preparing them counts.  The fit prepares
#: into memory that is there already, and underrates large transforms; so by hand, after timing published layers, fft's
#: "operation" went from 0.88 to 1.2 and "prepared weight" from 6 to 12.  Emerald Rapids, 2026-11-23.
COSTS: dict[str, dict[str, float]] = {
    "depthwise": {
        "call": 9130, "fma": 1.22, "flush": 0, "output": 0.838, "row": 228, "sample": 0.72, "thinned": 1.44,
        "prepared weight": 6,
    },
    "direct": {
        "call": 6800, "fma": 0.961, "flush": 10.3, "output": 0.255, "row": 252, "sample": 1.05, "thinned": 0.852,
        "weight": 1.02, "prepared weight": 6,
    },
    "winograd": {
        "call": 8520, "fma": 0.922, "flush": 32.5, "output": 0, "row": 472, "run": 11.5, "sample": 25.3,
        "thinned": 0.0195, "weight": 1.12, "preparation": 120000, "prepared weight": 12,
    },
    "fft": {"call": 16900, "operation": 1.2, "preparation": 60000, "prepared operation": 1.6},
    "scalar": {"call": 12000, "word": 0.75},
}  # fmt: skip
