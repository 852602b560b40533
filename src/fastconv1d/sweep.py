"""The tile swept over a block: the loop nest that every fast algorithm shares, compiled by itself."""

from __future__ import annotations

from .compile import Standalone, kernel, standalone
from .simd.tiles import CHANNELS, PAIRED_CHANNELS, TIMES, tallest_intrinsic, tile_intrinsic
from .tuning import CHAIN, CHUNK, LONG_CHAIN, LONG_CHAIN_STEPS


@kernel
def even(total, parts, index):
    """Where part `index` of `total` things starts, cut into `parts` parts that differ by one at most."""
    return total * index if parts == 1 else total * index // parts


@kernel
def pieces(total, most):
    """How many parts of at most `most` things make `total`."""
    return 1 if total <= most else -(-total // most)


def _sweep(tile, tallest):
    """A sweep of `tile`."""

    def sweep(
        a, b, y, table, a_row, a_column, b_row, b_panel, steps, chain, y_row,
        rows, columns, block_rows, tile_columns, first, far_a, far_y, whole,
    ):  # fmt: skip
        """y[r * y_row + c] (+)= sum over steps of a[i + r * a_row + c * a_column] * b[j + r * b_row + c + to_panel].

        Where i and j a step stands, the tile knows (tiles.py); to_panel = panel * (b_panel - 1), where `panel` is
        the first column of the tile_columns that c is one of.  Where b_row is not 0, rows have nothing in common, and
        tiles are one row high.

        Rows by the block, whose part of `a` stays near; then columns by the panel, whose part of `b` stays near while
        the rows of the block pass by; then the steps, CHUNK at a time.

        Where all steps are one chain, and b is rows of times, a tile goes through all full panels before the next rows
        do, in one call: to start a tile costs as much as its sums of a few steps.  That takes 0.76 to 0.9 of the time,
        1 -> 1 K 5 and 512 depthwise K 7 most, but 1.04 and 1.08 where there are more steps, 22 -> 40 and 32 -> 512 K 1.

        `chain`: so many steps in a row are summed by one accumulator, a multiple of STEPS_TOGETHER, which may leave
        the last one up to three more.

        `far_a`: a, which are weights, does not fit the cache, so that the tiles of the first panel ask for the rows
        below (tiles.py); the others find them there.

        `far_y`: y does not fit the cache, so that a tile asks for the lines of that in the next panel.  Against asking
        for its own, 32 -> 512 K 1 takes 0.88 of the time; 1 -> 84 K 11 takes 0.91 of that without.  Stores past the
        cache lose: 1.5 times for 1 -> 64 K 7, 1.1 for 1 -> 84 K 11.  Zen 4, 2026-11-27.

        `whole`: the lanes of a vector where b ends with the last column, else 0.  The last vector begins so much
        earlier then, over columns that are made twice.  There must be `whole` columns at least, and one chain.
        """
        blocks = pieces(rows, block_rows)
        for block in range(blocks):
            r0, r1 = even(rows, blocks, block), even(rows, blocks, block + 1)
            height = tiles = least = taller = panel = 0
            while panel < columns:
                width = min(tile_columns, columns - panel)
                if whole and width % whole:
                    if panel:
                        panel -= whole - width % whole
                        width = columns - panel
                    else:
                        width -= width % whole
                count = max(columns // tile_columns, 1) if steps <= CHAIN and b_panel == 1 and panel == 0 else 1
                most = 1 if b_row else tallest(y, width)
                if height != most:  # seldom: divisions cost as much as a small tile
                    height = most
                    tiles = pieces(r1 - r0, height)
                    least = (r1 - r0) // tiles
                    taller = r1 - r0 - least * tiles  # so many tiles have a row more
                ahead = 0
                if far_y:
                    ahead = tile_columns if count > 1 or panel + width < columns else (r1 - r0) * y_row - panel
                r_end = r0
                for i in range(tiles):
                    r = r_end
                    r_end += least + (i < taller)
                    for s in range(0, steps, CHUNK):
                        tile(
                            a, a_row, r * a_row + panel * a_column, tile_columns * a_column, far_a if panel == 0 else 0,
                            b, r * b_row + panel * b_panel, tile_columns, table, s, min(s + CHUNK, steps), chain,
                            y, r * y_row + panel, y_row, r_end - r, width, count,
                            first != 0 and s == 0, ahead if s + CHUNK >= steps else 0,
                        )  # fmt: skip
                panel += width + (count - 1) * tile_columns

    return sweep


#: By what stands in the lanes (tiles.py), and whether all steps are one chain.
SWEEPS = {
    (lanes_along, one_chain): standalone(pointers=3, integers=15)(
        _sweep(tile_intrinsic(lanes_along, one_chain), tallest_intrinsic(one_chain))
    )
    for lanes_along in (TIMES, CHANNELS, PAIRED_CHANNELS)
    for one_chain in (False, True)
}


def chain_of(steps: int) -> int:
    """How many terms are summed in a row where there are so many in all."""
    return LONG_CHAIN if steps <= LONG_CHAIN_STEPS else CHAIN


def sweep_of(lanes_along: int, steps: int) -> Standalone:
    """The sweep for so many steps in all, of which a block may have fewer."""
    return SWEEPS[lanes_along, steps <= CHAIN]
