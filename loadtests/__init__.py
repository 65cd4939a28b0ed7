"""The storm laboratory: what a fleet of chargers does to the system all at once, and whether the system bears it.

    python -m loadtests NAME ─┬─▶ cpms up, in a scratch directory          (stack)
                              ├─▶ haproxy in front of it, with --tls       (terminator)
                              ├─▶ chargers, token, tariff, over NATS       (desk, asyncio)
                              ├─▶ python -m loadtests.storm                (Locust: gevent, one greenlet per charger)
                              │        │ with --processes: Locust's master, of several  python -m loadtests.member
                              │        scenario ─▶ Charger ─▶ simulator's ChargePoint, pure
                              │                       └────▶ Wire: wsproto over a socket
                              └─▶ the system's own truth, over NATS ─▶ verdict (pure)

`python -m loadtests.chaos` has the same chargers and the same stack, and kills what serves them (chaos, chaos_*).

What versions of OCPP have of their own is in `dialects`. Locust has a process of its own, because it replaces the standard library's
sockets by gevent's; asyncio stays in the other. A soak (`soak`) is run in the same way, and besides looks at the system's processes.
"""
