"""Every tuned number, with the machine, the day and how it was found.

The bits of direct sums depend on none of them but the chains and CHUNK, and on STEPS_TOGETHER of tiles.py, which are
part of what that sum is.
"""

#: Terms that one accumulator of the tile sums in a row; the sums of CHUNK terms are summed by another, and those of all
#: in memory.  In units of u * sum|x||w|, the worst of 1500 sums of n = 512, 1536, 7680 and 20000 like terms, whose
#: rounding errors are alike too (of 0.5 to 1 at random they stay below 8 but for the first, which reaches 10):
#:
#:     128 in a row, then all   32    35    46    57
#:      64 in a row, then 512   17    16    18    27
#:      32 in a row, then 512   12    13    16    15
#:      16 in a row, then 512    9     9    12    16
#:      16 in a row, then 256    8     8     9    20
#:
#: Sums of chains in registers leave room for 12 accumulators of 24, which costs nothing if what the tile reads and
#: writes is asked for ahead (tiles.py); kept in memory they cost 11 % with chains of 32, 20 % with 16.  With AVX2 they
#: are kept there all the same, as there are only 16 registers: tiles of 4 rows and 3 vectors reach 0.70 of the peak
#: with chains of 16, 0.75 with 32, 0.81 with one.  Zen 4, 2026-11-27; Zen 3, 2026-11-28.
CHAIN = 16
CHUNK = 512

#: Sums of up to so many terms have longer chains: the worst of millions of sums of like terms of each of 300 lengths up
#: to 2048 is 13.6 units off, at 1522; sums of 3072 and 3840 would be 14.4 and 15.  Beside chains of 16, both with AVX2,
#: dense layers take 0.9 to 1.0 of the time.  Zen 3, 2026-11-28.
LONG_CHAIN = 32
LONG_CHAIN_STEPS = 2048

#: Steps of the reduction between two passes over the outputs of a block, a multiple of CHUNK.  128 to 1024 tried on
#: 384 -> 384 K 3, 512 -> 1536 K 1, 64 -> 64 K 11 and 1280 -> 1536 K 5: 256 and 512 lead, 128 loses 5 to 25 %.
#: Emerald Rapids, 2026-11-23.
BLOCK_STEPS = 512

#: The same where several taps share the packed samples, of which each block has all that its taps reach.  1024 to 8192
#: tried on K 7, 11 and 16: alike but at 256 -> 512 K 16 stride 8, where 1024 leads by 12 %.
#: Emerald Rapids, 2026-11-23.
SHARED_BLOCK_STEPS = 1024

#: Rows of a sweep whose operand is kept near.  32 to 64 lead; all rows at once lose up to 5 %, in NWC half of the
#: speed where outputs are many times the inputs (32 -> 512 K 1).  Emerald Rapids, 2026-11-23.
BLOCK_ROWS = 32

#: Outputs of a row in one block, about.  240 to 1920 tried: 480 and more differ by 1 to 3 %, but where weights or
#: channels are few, long blocks gain up to 15 % (128 -> 32 K 1), as memory is read in longer runs.
#: Emerald Rapids, 2026-11-23.
BLOCK_TIMES = 960

#: The same where all steps are one chain, so that a tile goes through the times of its rows at once (sweep.py), in rows
#: of two tiles' height.  480 to 7680 tried on 1 to 16 channels in, 8 to 512 out: 960 takes 1.03 to 1.15 times as long,
#: 7680 1.0 to 1.1.  Zen 4, 2026-11-27.
LONG_BLOCK_TIMES = 3840

#: While a row of x is packed, the one so many further on is asked for: the CPU does not foresee where short rows go on.
#: 128 -> 32 channels K 1, 64 times 500 samples, takes 0.75 of the time, 512 -> 128 K 1 0.87, 384 -> 384 K 3 stride 2
#: 0.94, what fits into L2 the same.  With 1 row the first two take 0.81 and 0.91, with 2 and 8 as with 4.  Zen 4,
#: 2026-11-27.
PACKED_AHEAD = 4

#: Outputs of a group, at most, for which x is read where it stands if there is one chain of steps and no padding: the
#: loads straddle lines then, but nothing is packed.  Depthwise layers of K 3 to 7 and 600 to 100,000 times take 0.6 to
#: 0.75 of the time, 1 -> 1 K 5 0.7, 16 -> 16 K 1 0.83, 1 -> 16 K 3 0.93; 1 -> 64 K 7, and longer chains, up to 1.1.
#: The same in NWC takes 0.77 to 1.5 of the time for depthwise layers, more for more channels, and 0.95 to 1 for dense
#: ones, and was given up.  Zen 4, 2026-11-27.
IN_PLACE_OUTPUTS = 16

#: Outputs of a group, at least, for which a packed block stands in panels where a tile is no whole lines wide, as with
#: AVX2: to put it there is one more pass over it.  From 256 on, K 1, and
#: what else has taps that share no samples, takes 0.92 to 1.03 of the time, 0.96 in the mean of
#: 8 layers: 512 -> 1024 and 64 -> 256 0.93, 256 -> 512 0.94, 256 -> 256 0.98; with 64 to 128 1.02, 768 -> 96 1.1.  The
#: sweep by itself takes 0.92 to 0.95.  Zen 3, 2026-11-28.
PANEL_OUTPUTS = 256

#: The most bytes of a packed block, unless one of 8 times has more.  Only taps that are absurdly far apart come near:
#: depthwise in NWC with 32 channels, K 10000 and dilation 900 would take 1.1 GiB, and so takes 40 MiB.
LARGEST_PACKED_BYTES = 16 * 2**20

#: A block that one core computes for longer than this, by the estimate, is cut among its channels whatever that costs,
#: for the sake of SLICE_SECONDS: 2048 -> 2048 K 15 in direct, 512 -> 512 K 5 in int64.
BLOCK_SECONDS = 0.05

#: Blocks are cut among their channels into items of about this long, by the estimate.  Where another thread keeps a
#: core busy, a helper gets a part of it, and the caller waits for the item in which it was sent off.  Beside a process
#: that spins, 256 -> 256 and 1024 -> 1024 K 3 take 0.83 and 0.85 of the time that they took with 4 and 8 items; beside
#: the peers, in turn, 16 layers of 13 to 450 us were 1.92 times as fast as these with the fewest items, and are 2.13
#: times; two threads that nothing disturbs take 0.998 of the time (34 layers), one thread 1.00.  20e-6, and 100e-6
#: where all is quiet, are alike.  Zen 4, 2026-11-28.
ITEM_SECONDS = 50e-6

#: What cutting the channels may cost where each part packs again, by the estimate; it costs up to twice as much, as
#: packing waits for memory: 1280 -> 1280 K 3 stride 2 takes 1.09 of the time with 7 parts of a block, 1.04 with 3.
#: Zen 4, 2026-11-28.
PACKING_SHARE = 0.02

#: Results of this many bytes and more start on a cache line; below, finding one costs more than it gains.  Not tuned.
ALIGNED_RESULT_BYTES = 16 * 2**10

#: Results of this many bytes and more are put where an earlier one was (memory.py).  The C library gives smaller ones
#: memory that was used before by itself, and larger ones too until others stand in its way: six results of 2 to 26 MB,
#: dropped together, took 14 ms at 32 MiB, with 1682 page faults, and take 8; 1 -> 64 channels, K 7, L 44100, among
#: PyTorch's and ONNX Runtime's, 3 to 7 ms with 680, now 1.4.  Emerald Rapids, 2026-11-24.  From 128 KiB on, where the
#: C library begins to give memory back, processes that do nothing else have page faults too, with some sizes: SincNet,
#: whose result takes 0.9 MB, had 212 a call, 1.0 ms for 0.23; 256 -> 256 K 1, L 500, 112, 1.3 ms for 0.8.  To find
#: pages takes 1.6 us; to put a smaller result on a cache line 2.4.  Zen 4, 2026-11-27.
LARGE_RESULT_BYTES = 2**17

#: Dropped results are kept up to this many bytes together, as the C library does, and up to this many; a larger one is
#: kept by itself, marked as free, which costs 0.2 ms for 20 MB.  To look through 32 takes 2 us.
KEPT_RESULT_BYTES = 64 * 2**20
KEPT_RESULTS = 32

#: A call that takes longer than PARALLEL_SECONDS on one thread has helpers if these are awake, which they are for
#: AWAKE_SECONDS after a call, or if it comes so soon after another such call; else it must take WAKING_SECONDS.  Both
#: are compared with the estimate of cost.py, which was 1.3 times what it is now when these were timed.  One thread /
#: two, us, by the idle time before each call, 64 -> 64 K 3, medians of 30 (Zen 4, 2 virtual cores, 2026-11-27; what
#: finds cold caches is slower on one thread too):
#:
#:     estimate   no idle time   1 ms          5 ms          10 ms         50 ms
#:           66     53 /   45      72 /   84     163 /  190    208 /  320    277 /  416
#:          132    135 /  109     178 /  122     221 /  307    352 /  393    367 /  459
#:          252    193 /  110     207 /  122     316 /  281    410 /  388    447 /  492
#:          504    379 /  210     418 /  239     495 /  394     632 /  529    773 /  787
#:         1007    872 /  469    1019 /  544    1401 /  819    1117 /  757   1157 /  857
#:         2015   1431 /  764    1529 /  762    1673 / 1133    1910 / 1182   2268 / 1537
#:
#: Tried: awake for 5 ms, which beside the peers, whose turns take as long, was neither better nor worse.
PARALLEL_SECONDS = 30e-6
AWAKE_SECONDS = 2e-3
WAKING_SECONDS = 300e-6

#: Calls that were made beside another count for this long as keeping a core busy each, so that helpers do not take
#: turns with callers.  Two threads calling without pause on two cores, 64 -> 64 K 3, calls a second and the slowest of
#: a hundred: L 600 8600 to 10500 and 4 ms without this, 10700 to 13000 and 0.3 ms with it; L 4800 1800 to 2000 and
#: 7 ms, 2500 and 1 ms, as fast as with one thread a call.  Zen 4, 2026-11-28.
CROWD_SECONDS = 0.02

#: A helper that is awaited, and did no work for as long as this, waits for a core, and is fetched (sharing.py).  Mean
#: times in us of 64 -> 64 (L 600 and 1200), 128 -> 128, 256 -> 256 (L 1200), 512 -> 512 (L 2400) and 1024 -> 1024
#: channels (L 4800), K 3, two virtual cores:
#:
#:     beside                        one thread                          two threads
#:     nothing                      103 216 650 2370 18926 158915        85 117 331 1189  9406  79816
#:     a process that spins         102 200 634 2375 18863 158687       112 149 445 1604 13102 115597
#:
#: Nobody fetched, 64 -> 64 take 138 and 313.  Tried: to give way, or to sleep for 50 us, which is to have Linux fetch
#: it: 153 and 178 us for the first.  To use one thread after two calls in a row that were slow: no gain beside the
#: peers.  To fetch whoever is awaited for 30 us and the estimate of two items: 1.04 times the time for items of 5 ms,
#: as of 1280 -> 1280 K 3 stride 2, else as good.  10e-6: 1.08 to 1.1 times the time of calls below 0.5 ms, as who comes
#: again has to leave this core first.  To do without helpers for 3 ms after one was fetched: 1.2 times the time of such
#: calls beside the peers.  Zen 4, 2026-11-28.
STALLED_SECONDS = 100e-6

#: A call that takes longer than this is made in slices of about this long, between which Python sees Ctrl-C.  The first
#: is half of it by the estimate, and those that follow go by the time that it took.
#: Ctrl-C came 4 to 107 ms late in calls of 1 to 19 s, 275 ms where a result of 512 MB was just being made; slices cost
#: 0 to 2.5 % of calls of 76 to 260 ms, 0.1 s as much.  Emerald Rapids, 2026-11-23.
SLICE_SECONDS = 0.05

#: Taps of one part of a kernel of the transforms, at most: twice as many samples of 16 float32 lanes take 1 MiB.
LONGEST_PART = 4096

#: Steps that one accumulator of a product of spectra sums, at two terms each, and the most in all.  How far the worst
#: of like terms of 32, 128, 512, 2048, 4096, 8192 and 12000 steps is off, in units of the bound; the time is the same:
#:
#:     64    9    23    19    25    31    30    45
#:     32    9    11    15    18    33    62    92
#:     16    6     9    12    33    65
#:
#: Zen 3, 2026-11-28.
PRODUCT_CHUNK = 64
MOST_PRODUCT_STEPS = 8192

#: Channels stand in the lanes of transforms where they fill this much of them, else pairs of blocks do.  Not tuned.
FULL_LANES = 0.6

#: "auto" uses no algorithm whose error may be larger (Algorithm.units): the contract.
MOST_UNITS = 64

#: Rows or columns that are turned one number after the other, in 0.9 cycles each; a tile of 16 lanes takes 1.9 cycles a
#: number for 3 of them, 1.2 for 5, 1.0 for 6, 0.8 for 8 and 0.4 for 16.  Zen 4, 2026-11-27.
FEW = 5

#: Rows or columns, at most, that are turned a vector of each at a time where nothing stands between them: 0.35 cycles a
#: number for 2 and 3, 0.5 for 4 and 6, 0.6 for 8, 0.7 for 9.  In NWC 2 -> 2 channels K 5 take 0.53 of the time, 5 -> 5
#: K 3 0.68, 7 -> 32 K 3 0.89.  Zen 4, 2026-11-27.
MOST_ZIPPED = 8

#: The share of L2 for the samples of a block of Winograd's algorithm.  0.06 to 0.75 tried on ten layers: 0.125 to 0.5
#: differ by less than 5 %, 0.06 loses up to 20 %, 0.75 up to 12 %.  Emerald Rapids, 2026-11-23.
SAMPLES_SHARE = 0.375

#: winograd and fft refuse what needs more bytes of samples or spectra for the least block: 302 channels, K 108 and
#: dilation 500 would take 110 MiB in float32, 1617 channels, K 11 and stride 333 561.  Not tuned.
LARGEST_SAMPLES_BYTES = 16 * 2**20

#: Half cycles until a sum is there to be added to: 4 cycles on Zen 3 and 4 and on Intel's since Skylake.
FMA_LATENCY = 8

#: By how much winograd and fft must be cheaper than a plain sum.  On the 1700 problems of fit_costs.py that 1.0 to 1.2
#: were tried on, 1.1 chooses as well as 1.0 (within 10 % of the best as often, but for 0.7 % of NWC), 1.2 worse; of
#: published layers it mends 32 -> 32 K 2 dilation 512, for which winograd takes 1.14 times as long.  Zen 4, 2026-11-28.
TRANSFORM_MARGIN = 1.1

#: By how much turned lanes must be cheaper than those that stand side by side in memory.  With AVX2, 512 -> 1024 and
#: 512 -> 1500 K 1 and 320 -> 320 K 16 stride 4, L 64, which promise 0.1 to 6 % less, take 1.05, 1.1 and 1.2 times as
#: long.  Zen 3, 2026-11-28.
LANES_MARGIN = 1.1

#: Units of cost.py in a second: two vector FMAs a cycle at 3 GHz.
UNITS_PER_SECOND = 6e9

#: Prices of what the algorithms do, in those units, in either data format.  Fitted by benchmarks/fit_costs.py
#: --problems 2500 --seed 71, but for the "gathered" and "turned" of direct, which are from problems timed with the
#: lanes along either axis, winograd's "prepared weight", fitted by the number and now by the vector of 16, and the
#: prices of scalar.  By them the chosen algorithm is within 10 % of the best on 96 %
#: of 1500 other problems (seed 72) in NCW and NWC where weights are prepared, on 99 % of each where preparing them
#: counts; by those before, with one price for all of what fft does, on 94, 93, 97 and 96 %.  The worst have a few
#: outputs of kernels several times longer than x.  Of the two axes that the lanes may run along, the chosen one is
#: within 10 % of the better on 87 to 99 % of 31 to 207 problems of each algorithm, in either format.  Zen 4,
#: 2026-11-28.
COSTS: dict[str, dict[str, float]] = {
    "depthwise": {
        "call": 6730, "fma": 0.93, "flush": 6.62, "row": 193, "sample": 0.836, "thinned": 0.833,
        "straddled": 1.32, "gathered": 0, "turned": 0.553, "frame": 53.5, "weight": 0.229, "far weight": 0.351,
        "preparation": 9470, "prepared weight": 1.61,
    },
    "direct": {
        "call": 7500, "fma": 0.888, "flush": 5.37, "row": 177, "sample": 0.821, "thinned": 0.928,
        "gathered": 1.5, "turned": 0.4, "frame": 38.4, "weight": 0.16, "far weight": 0.112, "preparation": 13300,
        "prepared weight": 1.32,
    },
    "winograd": {
        "call": 10500, "fma": 0.834, "output": 19.1, "row": 296, "run": 7.47, "sample": 19.2,
        "thinned": 1.24, "gathered": 1.31, "turned": 0.417, "frame": 68.5, "weight": 0.164, "far weight": 0.0602,
        "preparation": 58900, "prepared weight": 21.8,
    },
    "fft": {
        "call": 4320, "pass": 2.06, "row": 185, "sample": 2.39, "output": 0.85, "strided": 1.8, "product": 8.84,
        "tile": 20.8, "read byte": 0.125, "written byte": 0.621, "preparation": 184000, "prepared weight": 74.5,
        "prepared byte": 1.25,
    },
    "scalar": {"call": 12000, "word": 0.75},
}  # fmt: skip
