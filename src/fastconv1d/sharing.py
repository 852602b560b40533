"""How threads share a call: each has a share of its items, and takes of others' shares when it is done with its own.

So none of them has to be awake: the caller works through the items of those that do not come, and waits for nobody but
who has come and not left.

The shares stand on the caller's stack, each on a line of the cache:

    LEFT       the items that nobody has taken, neighbours: the first times 2**32, and the last + 1, from ORIGIN on
    ORIGIN     the number of the item that is 0 there
    SLOT       which share it is
    WORKERS    how many there are

An invitation stands in memory that all helpers know (helpers.py).  Who takes a place enters the call; when the caller
finds all shares empty it withdraws the places that are left, and waits for those who took one.

    TICKET         the number of the invitation times MOST_WORKERS, and the places that nobody has taken; or CLOSED
    DONE           how many of those who took a place have left
    ENTER, FRAME   the function to call, and its first argument
    CORE           where the caller runs, or did when it last looked
    THREADS        for each place the thread that is in it, or 0; negative while the caller fetches it, for which
                   the thread then waits: nobody else may move it, and it moves itself only outside of a place

An invitation has a number, so that to take a place in a later one than was looked at fails.
"""

from __future__ import annotations

from .compile import kernel
from .cores import fetch, leave, offer, this_core, worked
from .simd.arrays import call
from .simd.atomics import exchange, load, pause, store
from .sweep import even

LEFT, ORIGIN, SLOT, WORKERS, SHARE_BYTES = 0, 8, 16, 24, 64

#: What the caller's stack has room for.
MOST_WORKERS = 256
SHARES_BYTES = MOST_WORKERS * SHARE_BYTES

#: So that the numbers of two items fit into LEFT.
MOST_ITEMS = 2**31 - 1

#: On lines of the cache of their own: all look at the first again and again.
TICKET, DONE, ENTER, FRAME, CORE, THREADS = 0, 64, 128, 136, 144, 192
INVITATION_BYTES = THREADS + 8 * MOST_WORKERS

CLOSED = -1

#: How often a caller that has woken helpers looks whether they are there before it offers its core.
ARRIVAL_LOOKS = 1000


@kernel
def deal(shares, first, last, workers):
    """The items `first` to `last` in shares that differ by one at most."""
    for slot in range(workers):
        share = shares + slot * SHARE_BYTES
        store(share + ORIGIN, first)
        store(share + SLOT, slot)
        store(share + WORKERS, workers)
        store(share + LEFT, even(last - first, workers, slot) << 32 | even(last - first, workers, slot + 1))


@kernel
def claim(share):
    """The next items, neighbours: the first and the last + 1, which are equal where none is left.

    Of one's own share some at a time, so that others find some; of another's the last half, which becomes one's own.
    """
    workers, slot, other = load(share + WORKERS), load(share + SLOT), 0
    while other < workers:
        place = share + ((slot + other) % workers - slot) * SHARE_BYTES + LEFT
        left = load(place)
        first, last = left >> 32, left & (2**32 - 1)
        if first == last:
            other += 1
        elif other:  # one's own is empty, and nobody else writes to an empty share
            half = last - (last - first + 1) // 2
            if exchange(place, left, first << 32 | half):
                store(share + LEFT, half << 32 | last)
                other = 0
        else:
            count = last - first if workers == 1 else (last - first + 7) // 8
            if exchange(place, left, (first + count) << 32 | last):
                return load(share + ORIGIN) + first, load(share + ORIGIN) + first + count
    return 0, 0


@kernel
def after(item, last, share):
    """The next item, and where those that were claimed end: others are claimed when these are done."""
    if item + 1 < last:
        return item + 1, last
    return claim(share)


@kernel
def invite(invitation, enter, frame, places, asleep):
    """Offer places in a call to helpers, which may be `asleep`."""
    store(invitation + ENTER, enter)
    store(invitation + FRAME, frame)
    store(invitation + DONE, 0)
    store(invitation + CORE, this_core())
    store(invitation + TICKET, (load(invitation + TICKET) // MOST_WORKERS + 1) * MOST_WORKERS + places)
    if asleep:
        for _ in range(ARRIVAL_LOOKS):
            if load(invitation + TICKET) % MOST_WORKERS < places:
                return
            pause()
        offer()


@kernel
def fetch_from(place):
    """Have the thread that is in a place, if there is one, run on this core next; it stays in it meanwhile."""
    thread = load(place)
    if thread > 0 and exchange(place, thread, -thread):
        fetch(thread)
        store(place, thread)


@kernel
def next_taken(invitation, first, last, place):
    """The next place, after the last the first, that a thread is in, or 0."""
    for i in range(last - first + 1):
        other = first + (place - first + 1 + i) % (last - first + 1)
        if load(invitation + THREADS + 8 * other) > 0:
            return other
    return 0


@kernel
def dismiss(invitation, places, patience):
    """Offer no places any more, and wait for those who took one, looking at one after the other.

    Who did no work from one of `patience` looks to the next waits for a core, and is fetched to this one.  That is
    offered from then on, or if nobody can be looked at.
    """
    ticket = load(invitation + TICKET)
    while not exchange(invitation + TICKET, ticket, ticket - ticket % MOST_WORKERS):
        ticket = load(invitation + TICKET)
    taken = places - ticket % MOST_WORKERS
    looks, place, before, late = 0, places, -1, False
    while load(invitation + DONE) < taken:
        looks += 1
        if looks > patience:
            looks = 0
            thread = load(invitation + THREADS + 8 * place)
            if before >= 0 and thread > 0 and worked(thread) == before:
                store(invitation + CORE, this_core())
                fetch_from(invitation + THREADS + 8 * place)
                late = True
            other = next_taken(invitation, places - taken + 1, places, place)
            before = -1
            if other:
                place = other
                before = worked(load(invitation + THREADS + 8 * place))
            late |= before < 0
        if late:
            offer()
        pause()


@kernel
def enter(invitation, place, thread):
    """Help with the call in which `thread` has this place."""
    store(invitation + THREADS + 8 * place, thread)
    call(load(invitation + ENTER), (load(invitation + FRAME), place * SHARE_BYTES))
    while not exchange(invitation + THREADS + 8 * place, thread, 0):
        offer()  # to the caller, who fetches this thread, maybe to the core that they now share
    done = load(invitation + DONE)
    while not exchange(invitation + DONE, done, done + 1):
        done = load(invitation + DONE)
    leave(load(invitation + CORE))


def serve(invitation, thread, patience):
    """What the helper `thread` does while awake: take places, until there was none for `patience` looks in a row."""
    looks = 0
    while looks < patience:
        ticket = load(invitation + TICKET)
        if ticket == CLOSED:
            return
        if ticket % MOST_WORKERS == 0:
            looks += 1
            pause()
            continue
        leave(load(invitation + CORE))  # where it may have woken; before it takes a place, for which the caller waits
        if exchange(invitation + TICKET, ticket, ticket - 1):
            enter(invitation, ticket % MOST_WORKERS, thread)
            looks = 0


def look(invitation, looks):
    """Look as often as this for an invitation, as `serve` does."""
    for _ in range(looks):
        if load(invitation + TICKET) == CLOSED:
            return
        pause()


def close(invitation: int) -> None:
    """Send the helpers away for good."""
    store(invitation + TICKET, CLOSED)
