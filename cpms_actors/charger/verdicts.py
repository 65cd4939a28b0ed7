"""Verdicts on tokens, as this worker knows them: asked of the session pool, kept for a while, and a policy for when it is away.

The cache is bounded; what was kept longest leaves first. A verdict older than its time to live is asked for again, but serves when
nobody answers (offline policy "cached"). A change of tokens, announced by the pool, drops the verdicts of that tenant.
"""

from collections import OrderedDict
from typing import Final

from cpms_actors.domain.access import OfflinePolicy, Verdict
from cpms_actors.domain.events import IdToken

CACHED_MAX: Final = 50_000
ACCEPTED: Final = "Accepted"


class Verdicts:
    """The cache of one worker. Times are milliseconds."""

    def __init__(self, ttl_s: float, cached_max: int = CACHED_MAX) -> None:
        self._ttl_ms = int(ttl_s * 1000)
        self._max = cached_max
        self._cache: OrderedDict[tuple[str, str, str], tuple[Verdict, int]] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.offline = 0

    def __len__(self) -> int:
        return len(self._cache)

    def fresh(self, tenant: str, token: IdToken, now: int) -> Verdict | None:
        """The verdict, when it is known and young enough. A token that expires meanwhile is not served as accepted, and one that was
        kept at a later time than now, before the clock was put back, is of unknown age."""
        known = self._cache.get(_key(tenant, token))
        if known is None or not 0 <= now - known[1] < self._ttl_ms or _expired(known[0], now):
            self.misses += 1
            return None
        self.hits += 1
        return known[0]

    def keep(self, tenant: str, token: IdToken, verdict: Verdict, now: int) -> None:
        """Remember what the pool said."""
        key = _key(tenant, token)
        self._cache[key] = (verdict, now)
        self._cache.move_to_end(key)
        if len(self._cache) > self._max:
            self._cache.popitem(last=False)

    def forget(self, tenant: str) -> None:
        """Drop what is known of a tenant's tokens: they have changed."""
        for key in [key for key in self._cache if key[0] == tenant]:
            del self._cache[key]

    def unasked(self, tenant: str, token: IdToken, policy: OfflinePolicy, now: int) -> Verdict:
        """The verdict while the pool cannot be asked, by the tenant's offline policy."""
        self.offline += 1
        known = self._cache.get(_key(tenant, token))
        if policy == "accept" and known is None:
            return Verdict(ACCEPTED)
        if policy == "reject" or known is None:
            return Verdict("Invalid")
        return Verdict("Expired", known[0].expires_at, known[0].group) if _expired(known[0], now) else known[0]


def _key(tenant: str, token: IdToken) -> tuple[str, str, str]:
    return (tenant, token.kind, token.id.lower())  # 1.6 CiString20Type, 2.x identifierString: case-insensitive


def _expired(verdict: Verdict, now: int) -> bool:
    return verdict.status == ACCEPTED and verdict.expires_at is not None and verdict.expires_at <= now
