"""Whoever waits to hear whether something is durable: told once, True or False, and heard out even when it fails."""

from collections.abc import Callable, Iterable

from cpms_actors.observe import logs

log = logs.get("waiters")

Then = Callable[[bool], None]


def tell(waiters: Iterable[Then | None], durable: bool) -> None:
    """Tell each of them. One that raises is logged: it must not cost the others their answer, nor the teller its life."""
    for then in waiters:
        if then is not None:
            try:
                then(durable)
            except Exception as error:  # a fault of whoever waits; it goes on there, and nothing here depends on it
                log.error("waiter_failed", durable=durable, exc_info=error)
