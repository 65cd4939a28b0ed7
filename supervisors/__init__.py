"""Actors and supervisors for one process: supervision in the manner of OTP, in Python's own structured concurrency.

Nothing here knows what the actors are for. Start reading where your question is:

    mailbox.py     a bounded queue that costs nothing while it is empty
    policy.py      when to restart, whom with it, how soon, and when to give up: arithmetic only
    stage.py       the terms between an actor and its owner: decisions, effects, who performs them
    reply.py       one answer to one question, and what can go wrong with it
    actor.py       the passive actor: a mailbox, a state, one turn at a time, and no task of its own
    child.py       what a supervisor knows of a child
    tasks.py       temporary tasks in a bounded number
    supervisor.py  children that are tasks: started in order, restarted by policy, stopped in reverse
    reports.py     what a supervisor tells about them
    processes.py   the same for operating-system processes (die_with_parent.py is what they are started through)
    host.py        two event loops in one thread: asyncio (uvloop) as host, trio as guest, and the bridge between

Three sentences hold it together. An actor decides with a pure function and its owner performs the effects, so a rule is tested
without a loop. A crash is contained where it happened: a message loses its turn, a task its own work, a child its run; only a crash
that repeats too often climbs one level. Whatever can grow has a bound, and counts what it refused.

Everything that waits is written against anyio and runs on trio and on asyncio. Only `host.py` names both loops.
"""
