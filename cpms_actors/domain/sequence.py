"""Which numbers were seen, in the space of the gaps between them.

A set of integers is a flat tuple of ranges, low and high both included: `(0, 4, 7, 7)` holds 0, 1, 2, 3, 4 and 7. Numbers that
arrive nearly in order, as the seqNo of a transaction do, cost one range however many there are.
"""

from bisect import bisect_left
from typing import TypeAlias

Ranges: TypeAlias = tuple[int, ...]


def contains(ranges: Ranges, number: int) -> bool:
    """Whether the number is in the set."""
    at = bisect_left(ranges, number)
    return at < len(ranges) and (at % 2 == 1 or ranges[at] == number)


def add(ranges: Ranges, number: int) -> Ranges:
    """The set with the number in it."""
    if not ranges:
        return (number, number)
    if number == ranges[-1] + 1:
        return (*ranges[:-1], number)
    if contains(ranges, number):
        return ranges
    at = bisect_left(ranges, number)  # even: the number lies before the range that starts here
    joins_left = at > 0 and ranges[at - 1] == number - 1
    joins_right = at < len(ranges) and ranges[at] == number + 1
    left = ranges[: at - 1] if joins_left else (*ranges[:at], number)
    right = ranges[at + 1 :] if joins_right else (number, *ranges[at:])
    return left + right


def missing(ranges: Ranges, first: int) -> Ranges:
    """What lies between `first` (or the lowest number seen, if that is lower) and the highest number seen, but was not seen."""
    if not ranges:
        return ()
    inner = ranges[1:-1]
    gaps = tuple(bound + (1 if index % 2 == 0 else -1) for index, bound in enumerate(inner))
    return (first, ranges[0] - 1, *gaps) if first < ranges[0] else gaps
