"""Who serves which slot: the rules, pure. `bus.slots` carries them out on a KV bucket.

A worker is a *member* while its presence record changes: it renews it every `renew_s`. Whoever has not seen it change for `lease_s`, by
its own clock, takes it for dead. Clocks are compared with nobody's: every moment here is the observer's own, monotonic.

A slot belongs to the member that weighted rendezvous hashing names, so that a member that comes or goes moves its share and little
else; the weights keep the slots of a member in one lane where that can be. It is claimed by
compare-and-set against the revision last seen, and the revision of the claim is the slot's *epoch*: of two that claim at once one
fails. It is claimed from nobody, from a namesake (its predecessor), from the dead, and from whoever has released it: never from the
living.

A member that could not renew for `suspend_s` is *suspended*: it lets nobody new in and claims nothing. That is before anybody may take
it for dead, since `suspend_s` counts from when the renewal was sent and `lease_s` from when it was seen. When it can renew again it
claims anew what it had, since it may have missed that others did. After `evict_s` it sends its chargers away, if it knows of others
that could serve them.

Whoever carries this out keeps to four rules, each of which a history of the property test has taught:

- a renewal counts when its record comes back by one's own watch, not when it is acknowledged: else one is alive and blind;
- after a reconnection all members count as seen now: what is read anew leaves out what happened in between;
- a claim is a sign of life of whoever made it: its presence may not have come yet;
- a slot is served no more before it is given back, and not if its claim was outlived by a suspension.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from math import log
from re import compile as pattern
from typing import Final
from zlib import crc32

from msgspec import Struct

from cpms_actors.base.ids import LANES, lane_of


class Terms(Struct, frozen=True):
    """Seconds. renew_s < suspend_s < lease_s, for the safety of it; evict_s > lease_s."""

    renew_s: float = 0.75
    suspend_s: float = 2.0
    lease_s: float = 3.0
    evict_s: float = 30.0


class Member(Struct, frozen=True):
    """A worker as another sees it: when its record was last seen to change. A leaving one gets no slots and keeps none."""

    seen_at: float
    leaving: bool = False


class Holding(Struct, frozen=True):
    """What the bucket says of a slot: the name of its owner, "" when it was released, and the revision.

    `released` is the epoch of whoever released it, 0 while somebody owns it.
    """

    owner: str
    revision: int
    released: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the last owner, present or past."""
        return self.released or self.revision


class View(Struct, frozen=True):
    """All that one worker knows. `members` are the others; `serving` is slot to epoch."""

    me: str
    now: float
    renewed_at: float
    leaving: bool
    members: Mapping[str, Member]
    holdings: Mapping[int, Holding]
    serving: Mapping[int, int]


class Plan(Struct, frozen=True):
    """What is to be done: slots that are lost already, slots to give back, slots to claim with the revision that is replaced."""

    suspended: bool = False
    evict: bool = False
    lost: tuple[int, ...] = ()
    release: tuple[int, ...] = ()
    claim: tuple[tuple[int, int], ...] = ()


_NOBODY: Final = Holding("", 0)
_NUMBER: Final = pattern(r"[0-9]+$")
_GENERATION: Final = pattern(r"([^~]*)~([1-9][0-9]{0,8})(@.*)?")


def suspended(now: float, renewed_at: float, terms: Terms) -> bool:
    """Whether somebody might soon take this worker for dead."""
    return now - renewed_at >= terms.suspend_s


def decide(view: View, terms: Terms, slots: Iterable[int]) -> Plan:
    """The plan for this moment."""
    lost = tuple(slot for slot, epoch in view.serving.items() if _revision(view, slot) > epoch)
    if suspended(view.now, view.renewed_at, terms):
        # Of the others nothing has been heard either: whether there are some is what was known when the contact broke off.
        known = any(not member.leaving and member.seen_at > view.renewed_at - terms.lease_s for member in view.members.values())
        return Plan(suspended=True, evict=known and view.now - view.renewed_at >= terms.evict_s, lost=lost)
    living = {name for name, member in view.members.items() if view.now - member.seen_at < terms.lease_s}
    candidates = {name for name in living if not view.members[name].leaving}
    if not view.leaving:
        candidates.add(view.me)
    release: list[int] = []
    claim: list[tuple[int, int]] = []
    for slot in slots:
        mine = not candidates or owner_of(slot, candidates) == view.me
        holding = view.holdings.get(slot, _NOBODY)
        if view.leaving or not mine:
            # Also what is in our name and not served: a predecessor's, or one whose release or claim was not answered.
            if slot not in lost and (slot in view.serving or holding.owner == view.me):
                release.append(slot)
        elif slot not in view.serving and holding.owner not in living:
            claim.append((slot, holding.revision))
    return Plan(lost=lost, release=tuple(release), claim=tuple(claim))


def owner_of(slot: int, members: Iterable[str]) -> str:
    """The member with the highest score for this slot; of a worker and its successor the successor.

    "worker-1~2@node" is the successor of "worker-1@node": it gets what that had, and nobody else's slots move.
    """
    members = frozenset(members)
    weights = _weights(members)
    lane = lane_of(slot)
    return max(members, key=lambda member: _score(slot, member, weights[member][lane]))


@lru_cache(maxsize=256)
def _weights(members: frozenset[str]) -> dict[str, tuple[float, ...]]:
    """How much of each lane each member is to have; all of them have the same in sum.

    Whoever can has slots of its own lane only: the fewer write to a lane, the fewer pages for the same events. Where fewer members call
    a lane their own than another, those of the other help.
    """
    own = {member: _lane_of_own(member) for member in members}
    lineages = {lineage_of(member)[0]: lane for member, lane in own.items()}
    share = LANES / len(lineages)  # of a member, in lanes
    count = Counter(lineages.values())
    wanting = [max(0.0, 1.0 - count[lane] * share) for lane in range(LANES)]
    spare = {lane: share - 1.0 / count[lane] for lane in count if count[lane] * share > 1.0}
    total = sum(wanting)

    def weight(member: str, lane: int) -> float:
        if own[member] == lane:
            return min(share, 1.0 / count[lane])
        return spare.get(own[member], 0.0) * wanting[lane] / total if total else 0.0

    return {member: tuple(weight(member, lane) for lane in range(LANES)) for member in members}


def _lane_of_own(member: str) -> int:
    """By the number in its name: the workers of a node take turns."""
    name = lineage_of(member)[0].partition("@")[0]
    number = _NUMBER.search(name)
    return (int(number[0]) if number else crc32(name.encode())) % LANES


@lru_cache(maxsize=8192)  # asked again and again for the same few members
def _score(slot: int, member: str, weight: float) -> tuple[float, str, int]:
    lineage, generation = lineage_of(member)
    chance = (int.from_bytes(blake2b(f"{slot}|{lineage}".encode(), digest_size=6).digest()) + 0.5) / 2**48
    return -weight / log(chance), lineage, generation


def lineage_of(member: str) -> tuple[str, int]:
    """The name that a worker shares with those it succeeded, and which of them it is, from 1 on."""
    found = _GENERATION.fullmatch(member)
    return (found[1] + (found[3] or ""), int(found[2])) if found else (member, 1)


def _revision(view: View, slot: int) -> int:
    holding = view.holdings.get(slot)
    return holding.revision if holding is not None else 0
