"""How a problem is laid out and cut into blocks: the record of integers that the drivers read."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import machine, tuning
from .compile import Standalone
from .cost import Counts, price
from .epilogue import activation_of
from .problem import PADDING_MODES, Conv1dProblem
from .simd.tiles import CHANNELS, TIMES
from .sweep import chain_of

#: What the kernels know a padding mode by.
MODE_CODES = {mode: code for code, mode in enumerate(dict.fromkeys(PADDING_MODES.values()))}

#: What an algorithm does with these lanes, for one sample of a batch, and once to prepare the weights.
CountAlong = Callable[[Conv1dProblem, int], tuple[Counts, Counts]]

#: The fields, all of them int64.
FIELDS = (
    "groups C R L_out steps K "  # the problem: C and R are the input and output channels of a group
    "stride dilation pad_left mode activation "
    "lanes_along slots shift row packed scratch in_place "  # the packed block: packing.py
    "panel line into_panels "  # the same in panels
    "turn turns turned turned_row "  # where the lanes do not run as memory does: turning.py
    "block_steps block_times time_blocks "  # how the work is cut: blocks.py
    "group_blocks row_unit row_units row_blocks items "  # items: the blocks of one sample of the batch
    "block_rows tile_columns lanes chain sweep "  # how a block is swept: sweep.py
    "far_weights far_outputs"  # that do not fit the cache
).split()


def record_of(values: dict[str, int]) -> np.ndarray:
    """An array of one record of integers, which kernels read by the name."""
    dtype = np.dtype((np.record, [(name, np.int64) for name in values]))
    record = np.array([tuple(values.values())], dtype)
    record.flags.writeable = False
    return record


def round_up(value: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `value`."""
    return -(-value // unit) * unit


def off_powers(row: int, lanes: int, itemsize: int) -> int:
    """`row`, or a vector more where rows are a large power of two apart and so would share the sets of the cache."""
    return row + lanes if row * itemsize % 1024 == 0 else row


def slots_for(problem: Conv1dProblem, block: int, along: int) -> int:
    """How many slots the taps of a channel fall into, for blocks of `block` outputs: see packing.py."""
    p, lanes = problem, machine.lanes(problem.compute_dtype)
    slots = p.stride // math.gcd(p.stride, p.dilation)
    in_runs = along == TIMES or (p.stride == 1 and not p.channels_last)  # else what no tap needs costs as much
    near = 2 * lanes if in_runs else min(2 * block, 2 * lanes)  # a slot costs as much as a few samples
    return slots if slots < p.K and slots * p.dilation // p.stride <= max(block - 1, near) else p.K


def in_place(problem: Conv1dProblem, slots: int, along: int) -> bool:
    """Whether x may be read where it stands, in blocks that meet no padding (blocks.py): where packing costs much."""
    p, vectors = problem, problem.L_out // machine.lanes(problem.compute_dtype)
    few = p.C_in_g * p.K <= tuning.CHAIN and p.C_out_g <= tuning.IN_PLACE_OUTPUTS and vectors >= 2
    return few and along == runs_along(p) == TIMES and p.stride == slots == 1 and p.x_dtype == p.compute_dtype


def parts_for(blocks: int, seconds: float, most: int) -> int:
    """Into how many items, `most` at most, to cut each of so many blocks, which together take so long.

    So that every thread has as much as the next, and that none is awaited for long where something disturbs it.
    """
    threads, parts = machine.threads(), max(1, min(int(seconds / max(blocks, 1) / tuning.ITEM_SECONDS), most))
    if blocks * parts % threads and blocks * parts < 8 * threads:
        parts = min(round_up(parts, threads), most // threads * threads) or most
    return parts


def packing_counts(problem: Conv1dProblem, blocks: int, *, along: int) -> dict[str, float]:
    """What packing does, see cost.py."""
    p = problem
    slots = slots_for(p, min(p.L_out, tuning.BLOCK_TIMES), along)
    reach = (p.K - 1) // slots * slots * p.dilation // p.stride
    rows = p.C_in if along == TIMES else 1
    packed = min((p.pad_left > 0) + (p.pad_right > 0), blocks) if in_place(p, slots, along) else blocks
    samples = p.C_in * slots * (p.L_out + blocks * reach) * packed / max(blocks, 1)
    return {"row": rows * slots * packed, "sample": samples}


def near_bytes() -> int:
    """Bytes of weights that stay near from block to block."""
    return machine.cache_bytes(2) // 2


def weight_counts(problem: Conv1dProblem, steps: int, blocks: float, *, along: int) -> dict[str, float]:
    """What reading the weights does, `steps` for each output channel in each block, see cost.py."""
    p, unit = problem, 1 if along == TIMES else machine.lanes(problem.compute_dtype)
    weights = p.groups * round_up(p.C_out_g, unit) * steps
    near = near_bytes() // p.compute_dtype.itemsize
    return {"weight": weights * blocks, "far weight": max(weights - near, 0) * blocks}


def runs_along(problem: Conv1dProblem) -> int:
    """What stands side by side in x and y."""
    return CHANNELS if problem.channels_last else TIMES


def turning_fields(problem: Conv1dProblem, along: int, turn: int, channels: int, times: int) -> dict[str, int]:
    """What the drivers need to turn x and the outputs of a block (turning.py), with `turn` 0 for no need to."""
    p, lanes = problem, machine.lanes(problem.compute_dtype)
    rows, columns = (channels, times) if along == TIMES else (times, channels)
    row = off_powers(round_up(columns, lanes), lanes, p.compute_dtype.itemsize)
    return {
        "turn": turn,
        "turns": turn != 0 and p.x_dtype == p.compute_dtype,  # x too: else it is converted number by number
        "turned": rows * row if turn and p.C_out > 1 else 0,  # elements of outputs, in rows so far apart
        "turned_row": row,
    }


def cheaper_lanes(name: str, counts_along: CountAlong, problem: Conv1dProblem, prepared: bool) -> int:
    """What stands in the lanes by the named algorithm: what does in memory, unless the other promises a tenth less.

    Preparing the weights counts unless they are `prepared` for many calls.
    """

    def cost(along: int) -> float:
        running, preparing = counts_along(problem, along)
        return price(name, running) + (0 if prepared else price(name, preparing))

    own = runs_along(problem)
    other = CHANNELS if own == TIMES else TIMES
    return other if tuning.LANES_MARGIN * cost(other) < cost(own) else own


def order_counts(problem: Conv1dProblem, along: int, samples: float) -> dict[str, float]:
    """What brings numbers into the order of the lanes, see cost.py; one channel is alike either way."""
    p, other_way, in_channels = problem, along != runs_along(problem), along == CHANNELS
    x_turned, y_turned = other_way and p.C_in > 1, other_way and p.C_out > 1
    times = p.L_out * slots_for(p, min(p.L_out, tuning.BLOCK_TIMES), along)
    one_by_one = p.x_dtype.newbyteorder("=") != p.compute_dtype or (in_channels and p.stride > 1)
    return {
        "turned": p.C_in * p.L_in * x_turned + p.C_out * p.L_out * y_turned,
        # Tiles can't turn them.
        "gathered": samples * (x_turned and one_by_one),
        # The channels that a block reads do not follow upon those of the time before.
        "frame": times * (in_channels and not other_way and (p.stride > 1 or p.groups > 1)),
        "thinned": samples * (not in_channels and not x_turned and p.stride > 1),
    }


def geometry(
    problem: Conv1dProblem,
    *,
    groups: int,
    lanes_along: int,
    lanes: int,
    block_steps: int,
    block_channels: int,
    block_times: int,
    packed_bytes: int = 0,
    row_unit: int,
    row_blocks: int = 1,
    block_rows: int = 1,
    tile_columns: int = 1,
    sweep: int = 0,
    turn: int = 0,
    into_panels: Standalone | None = None,
) -> np.ndarray:
    """The record of a problem that an algorithm has cut into blocks.

    `block_channels` is how many channels the taps of `block_steps` steps may belong to.  A block takes as many groups
    as `packed_bytes` has room for, but only one where a group has more steps than a block.  `turn` is the address of
    the machine code of turning.py, where the lanes do not run along what is side by side in memory, and `into_panels`
    the function of packing.py, where blocks of times should stand in panels; they do if no taps share the samples.
    """
    p = problem
    C_out_g = p.C_out // groups
    itemsize = p.compute_dtype.itemsize
    while True:
        slots = slots_for(p, block_times, lanes_along)
        shift = slots * p.dilation // p.stride
        row = round_up(block_times + (p.K - 1) // slots * shift, lanes) + lanes
        row = off_powers(row, lanes, itemsize)
        per_group = block_channels * slots * row
        if per_group * itemsize <= tuning.LARGEST_PACKED_BYTES or block_times <= 8:
            break
        block_times = -(-block_times // 2)  # fewer times, so that taps far apart share nothing, and each has less
    block_groups = 1
    if p.C_in_g * p.K <= block_steps:
        block_groups = max(1, min(packed_bytes // (per_group * itemsize), groups // machine.threads()))
        if turn:  # the outputs stay near until they are turned
            block_groups = min(block_groups, max(1, machine.cache_bytes(2) // 2 // (C_out_g * block_times * itemsize)))
    packed, line, panel = block_groups * per_group + lanes, 0, 0
    if slots < p.K or block_groups > 1:
        into_panels = None
    if into_panels:
        # One row more, as panels a multiple of a page apart would share the sets of the cache.
        line, row, panel = row, tile_columns, (block_channels * slots + 1) * tile_columns
        packed = -(-block_times // tile_columns) * panel + line
    row_units = -(-C_out_g // row_unit)
    # The outputs of a block: rows of its groups, which stand as far apart as groups do.
    channels = (block_groups - 1) * C_out_g + min(-(-row_units // row_blocks) * row_unit, C_out_g)
    turning = turning_fields(p, lanes_along, turn, channels, block_times)
    group_blocks, time_blocks = -(-groups // block_groups), -(-p.L_out // block_times)
    values = {
        "groups": groups, "C": p.C_in_g, "R": C_out_g,
        "L_out": p.L_out, "steps": p.C_in_g * p.K, "K": p.K,
        "stride": p.stride, "dilation": p.dilation, "pad_left": p.pad_left, "mode": MODE_CODES[p.padding_mode],
        "activation": activation_of(p),
        "lanes_along": lanes_along, "slots": slots, "shift": shift, "row": row,
        "panel": panel, "line": line, "into_panels": into_panels.address(p.compute_dtype) if into_panels else 0,
        "packed": packed, "scratch": (packed + turning["turned"]) * itemsize + 8 * block_steps, **turning,
        "in_place": in_place(p, slots, lanes_along),
        "block_steps": block_steps, "block_times": block_times,
        "group_blocks": group_blocks, "time_blocks": time_blocks, "row_blocks": row_blocks,
        "items": group_blocks * time_blocks * row_blocks, "row_unit": row_unit, "row_units": row_units,
        "block_rows": block_rows, "tile_columns": tile_columns, "lanes": lanes,
        "chain": chain_of(p.C_in_g * p.K), "sweep": sweep,
        "far_weights": p.C_out * p.C_in_g * p.K * itemsize > near_bytes(),
        "far_outputs": p.N * p.C_out * p.L_out * itemsize > machine.cache_bytes(2),
    }  # fmt: skip
    return record_of({name: values[name] for name in FIELDS})
