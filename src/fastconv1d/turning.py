"""Turning: what stands side by side along one axis comes to stand so along the other, a tile of vectors at a time.

The lanes of the register tile run along the times or along the channels, whichever fills them better.  Where memory
runs along the other axis, the samples are turned while they are packed, and the outputs of a block while they are near.
"""

from __future__ import annotations

from .compile import kernel, standalone
from .simd.arrays import address, call, shifted
from .simd.moves import transpose_part, transpose_tile, unzip_rows, zip_rows
from .simd.tiles import TIMES
from .tuning import FEW, MOST_ZIPPED


@kernel
def turn_tiles(source, target, rows, columns, source_row, target_row, lanes):
    """target[c * target_row + r] = source[r * source_row + c] for r < rows, c < columns; nothing else is touched."""
    if columns <= FEW:
        for c in range(columns):
            for r in range(rows):
                target[c * target_row + r] = source[r * source_row + c]
        return
    if rows <= FEW:
        for r in range(rows):
            for c in range(columns):
                target[c * target_row + r] = source[r * source_row + c]
        return
    for r in range(0, rows, lanes):
        for c in range(0, columns, lanes):
            i, j = r * source_row + c, c * target_row + r
            if r + lanes <= rows and c + lanes <= columns:
                transpose_tile(source, i, source_row, target, j, target_row)
            else:
                transpose_part(source, i, source_row, rows - r, target, j, target_row, columns - c)


@standalone(pointers=2, integers=5, tables=0)
def turn(source, target, rows, columns, source_row, target_row, lanes):
    """The same, called by its address; faster where memory holds few numbers a time, and nothing between them."""
    r = c = 0
    if 1 < columns <= MOST_ZIPPED and source_row == columns:
        while r + lanes <= rows:
            unzip_rows(source, r * columns, target, r, target_row, columns)
            r += lanes
    elif 1 < rows <= MOST_ZIPPED and target_row == rows:
        while c + lanes <= columns:
            zip_rows(source, c, source_row, target, c * rows, rows)
            c += lanes
    source, target = shifted(source, r * source_row + c), shifted(target, c * target_row + r)
    turn_tiles(source, target, rows - r, columns - c, source_row, target_row, lanes)


@kernel
def place_of(turned, target, y_c, y_t, g):
    """Where the lanes put the outputs of a block that belong at the address `target`, there or into `turned`.

    The address, and how many elements apart neighbouring channels and times are, as y_c and y_t are at `target`.
    """
    if g.turned == 0:
        return target, y_c, y_t
    if g.lanes_along == TIMES:
        return address(turned), g.turned_row, 1
    return address(turned), 1, g.turned_row


@kernel
def store_turned(place, target, y_c, y_t, channels, times, g):
    """Bring such outputs from an address in `turned` to where they belong."""
    if g.lanes_along == TIMES:
        call(g.turn, (place, target, channels, times, g.turned_row, y_t, g.lanes))
    else:
        call(g.turn, (place, target, times, channels, g.turned_row, y_c, g.lanes))
