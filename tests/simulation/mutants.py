"""just mutants: small bugs, planted one at a time, and whether the simulation finds each.

A mutant is a piece of source and what takes its place, in a copy of the packages. It is caught when a seed fails, by a broken rule or
by an exception. One that is not caught says which rule is missing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("cpms_actors", "supervisors")


class Mutant(NamedTuple):
    """A bug: in `file`, `old` (which is there once) becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "a line that the journal has no room for is never told of",
        "cpms_actors/charger/charger.py",
        '            if not self.slot.append(self.record, self.connection, "", at, fact, None):\n                return False\n',
        '            self.slot.append(self.record, self.connection, "", at, fact, None)\n',
    ),
    Mutant(
        "what the journal has no room for takes a number",
        "cpms_actors/charger/office.py",
        "        self.numbered = number - 1  # `then` was not called, so nobody has taken the next one meanwhile\n",
        "",
    ),
    Mutant(
        "the answer does not wait for the journal",
        "cpms_actors/charger/charger.py",
        "        # `_append`, without a look for changes of state: they are checkpointed.\n",
        "        inbound.line.send(answer.text)\n",
    ),
    Mutant(
        "the answer to a start or stop does not wait for the journal",
        "cpms_actors/charger/charger.py",
        "        self._failed = False\n        self._waits_for = 2\n",
        "        self._failed = False\n        self._waits_for = 2\n        inbound.line.send(text)\n",
    ),
    Mutant(
        "what is not durable is answered",
        "cpms_actors/charger/charger.py",
        "            self._answer = None\n            if durable:\n",
        "            self._answer = None\n            if True:\n",
    ),
    Mutant(
        "the checkpoint's word counts for the journal's",
        "cpms_actors/charger/charger.py",
        "        if not durable:\n            self._failed = True\n        if not self._waits_for:",
        "        if not self._waits_for:",
    ),
    Mutant(
        "the late end of an old connection ends the new one",
        "cpms_actors/charger/charger.py",
        "        if self.line is not line:\n            return\n        self.line = None\n",
        "        self.line = None\n",
    ),
    Mutant(
        "a turn that has failed is never resumed",
        "cpms_actors/charger/charger.py",
        "                self._office.counters.unanswered += 1  # the charger will ask again, and content tells that it is the same\n",
        "                return\n",
    ),
    Mutant(
        "a page that is not acknowledged is dropped",
        "cpms_actors/bus/journal.py",
        "        self._statistics.retries += 1\n",
        "        self._statistics.retries += 1\n        self._count_sealed(-len(self.sealed.popleft().events))\n",
    ),
    Mutant(
        "whoever waited is told that it is durable when the lane stalls",
        "cpms_actors/bus/journal.py",
        "            page.waiters = [None] * len(page.events)\n        tell(waiters, False)\n",
        "            page.waiters = [None] * len(page.events)\n        tell(waiters, True)\n",
    ),
    Mutant(
        "durable when it is sealed, not when it is stored",
        "cpms_actors/bus/journal.py",
        "        self.sealed.extend(pages)\n        tell(refused, False)\n",
        "        self.sealed.extend(pages)\n        for page in pages:\n            tell(page.waiters, True)\n"
        "            page.waiters = [None] * len(page.events)\n",
    ),
    Mutant(
        "pages are not numbered",
        "cpms_actors/bus/sealing.py",
        "        self.number += 1\n        data = b",
        "        self.number = 1\n        data = b",
    ),
    Mutant(
        "an event too many leaves the page",
        "cpms_actors/bus/journal.py",
        "        self.page, self._waiters = self.page[limit:], self._waiters[limit:]\n",
        "        self.page, self._waiters = self.page[limit + 1 :], self._waiters[limit + 1 :]\n",
    ),
    Mutant(
        "ids of transactions are given twice",
        "cpms_actors/charger/transaction_ids.py",
        "                self._at += 1\n                self.given += 1\n",
        "                self._at += self.given % 2\n                self.given += 1\n",
    ),
    Mutant(
        "a page that was stored twice is taken for a hole",
        "cpms_actors/pools/fold.py",
        "        if page.number > known + 1:",
        "        if page.number != known + 2:",
    ),
    Mutant(
        "the third event of a page is not folded",
        "cpms_actors/pools/fold.py",
        "        accepted.writers[page.writer] = page.number\n        for event in page.events:\n",
        "        accepted.writers[page.writer] = page.number\n        for event in page.events[:2]:\n",
    ),
    Mutant(
        "a start that is repeated is not known by its content",
        "cpms_actors/pools/fold.py",
        "            stored = found.by_start.get((event.tenant, event.charger, start_key), stored)\n",
        "            stored = stored\n",
    ),
    Mutant(
        "a second id of a transaction is not kept",
        "cpms_actors/pools/fold.py",
        "            result.transactions[key] = stored.id\n",
        "            if session.transaction == body.transaction:\n                result.transactions[key] = stored.id\n",
    ),
    Mutant(
        "two events of one batch are folded into what was loaded",
        "cpms_actors/pools/fold.py",
        "            stored.session = session\n            result.sessions[stored.id] = stored\n",
        "            result.sessions[stored.id] = Stored(stored.id, session)\n",
    ),
    Mutant(
        "the offset is moved in a transaction of its own",
        "cpms_actors/pools/lane.py",
        "        async def at_once(folding: Folding) -> Batch:\n            await self._advance(folding, accepted)\n",
        "        async def first(folding: Folding) -> Batch:\n            await self._advance(folding, accepted)\n"
        "            return Batch()\n\n        await self._ledger.fold(tenants, first)\n\n"
        "        async def at_once(folding: Folding) -> Batch:\n",
    ),
    Mutant(
        "a lane goes on from what it remembers, wherever Postgres has it",
        "cpms_actors/pools/lane.py",
        "        if not await folding.advance(self.claim, self._progress, accepted):\n",
        "        there = await self._ledger.progress(self.claim.lane)\n"
        "        if not await folding.advance(self.claim, there, accepted):\n",
    ),
    Mutant(
        "a lane that is another's is folded all the same",
        "cpms_actors/pools/lane.py",
        "        if not await folding.advance(self.claim, self._progress, accepted):\n            raise LaneLost(self.claim.lane)\n",
        "        await folding.advance(self.claim, self._progress, accepted)\n",
    ),
    Mutant(
        "a batch that Postgres did not take is passed over",
        "cpms_actors/pools/lane.py",
        "                await self.fold_pages(pages)\n",
        "                with suppress(Unavailable):\n                    await self.fold_pages(pages)\n",
    ),
    Mutant(
        "after a failure the lane goes on from what it remembers",
        "cpms_actors/pools/lane.py",
        "        self._progress = progress\n",
        "        self._progress = progress = self._progress if self._progress.stream else progress\n",
    ),
    Mutant(
        "what is not committed is known to be seen",
        "cpms_actors/pools/lane.py",
        "        await folding.save(batch)\n        return batch\n",
        "        await folding.save(batch)\n        for key, live in batch.chargers.items():\n"
        "            self._seen[key] = live.last_seen_at\n        return batch\n",
    ),
    Mutant(
        "the second half of a batch that was refused is left out",
        "cpms_actors/pools/lane.py",
        "        second = await self._apply_in_halves(folding, events[middle:])\n",
        "        second = Batch()\n",
    ),
    Mutant(
        "the halves of a batch have no savepoints",
        "cpms_actors/pools/lane.py",
        "            async with folding.savepoint():\n",
        "            if True:\n",
    ),
    Mutant(
        "an event that was refused is not parked",
        "cpms_actors/pools/lane.py",
        "                await folding.save(refused)\n                return refused\n",
        "                return refused\n",
    ),
    Mutant(
        "a batch in halves does not move the offset",
        "cpms_actors/pools/lane.py",
        "            await self._advance(folding, accepted)\n"
        "            return await self._apply_in_halves(folding, accepted.events)\n",
        "            return await self._apply_in_halves(folding, accepted.events)\n",
    ),
    Mutant(
        "a page that was stored twice is known in its own batch only",
        "cpms_actors/pools/lane.py",
        "        progress.writers |= accepted.writers\n",
        "        progress.writers = accepted.writers\n",
    ),
    Mutant(
        "a late fact is not a new version",
        "cpms_actors/domain/charging.py",
        "        return replace(after, version=before.version + 1)\n",
        "        return replace(after, version=1)\n",
    ),
    Mutant(
        "an event that has come makes those below it known",
        "cpms_actors/domain/charging.py",
        "    elif body.seq is not None and sequence.contains(session.seqs, body.seq):\n        return Outcome(session)\n"
        "    order = body.at",
        "    elif body.seq is not None and session.seqs and session.seqs[-1] >= body.seq:\n        return Outcome(session)\n"
        "    order = body.at",
    ),
    Mutant(
        "an update before its start is not kept",
        "cpms_actors/domain/charging.py",
        "        if body.seq is None:\n            return _readings_of_none(body)\n        session = _opened(event, body, None)\n",
        "        return _readings_of_none(body)\n",
    ),
    Mutant(
        "the start's register is the last one that came",
        "cpms_actors/domain/registers.py",
        "        start=_lowest(one.start, other.start),\n",
        "        start=other.start or one.start,\n",
    ),
    Mutant(
        "a session is rated whether or not its CDR is written",
        "cpms_actors/pools/tariff.py",
        "    written = issued(cdr, former, new_id=new_id)\n    for each in written:\n",
        "    written = issued(cdr, former, new_id=new_id)\n    for each in written[1:]:\n",
    ),
    Mutant(
        "an amended session is billed as if it were new",
        "cpms_actors/pools/tariff.py",
        "    former = await rating.current(session) if claimed.rated else None\n",
        "    former = None\n",
    ),
    Mutant(
        "a credit takes nothing back",
        "cpms_actors/domain/cdr.py",
        "        energy_wh=-cdr.energy_wh,\n",
        "        energy_wh=0 * cdr.energy_wh,\n",
    ),
    Mutant(
        "an amended session keeps its first bill",
        "cpms_actors/domain/cdr.py",
        "    return replace(cdr, id=former.id, session_version=former.session_version, created_at=former.created_at) == former\n",
        "    return True\n",
    ),
    Mutant(
        "the energy of the first period is billed only",
        "cpms_actors/domain/cdr.py",
        "        energy_wh=sum(period.energy_wh for period in periods),\n",
        "        energy_wh=sum(period.energy_wh for period in periods[:1]),\n",
    ),
    Mutant(
        "what an outdated owner says of its connection counts",
        "cpms_actors/pools/fold.py",
        "            return  # the charger is connected to the newer owner\n",
        "            pass\n",
    ),
    Mutant(
        "the newest message of a mailbox is handled first",
        "supervisors/mailbox.py",
        "        message = queue.popleft()\n",
        "        message = queue.pop()\n",
    ),
    Mutant(
        "the outstanding call of a charger that moved is forgotten",
        "cpms_actors/charger/charger.py",
        "                conversation.outstanding = OutboundCall(call.id, call.action)\n",
        "",
    ),
    Mutant(
        "calls that wait do not move with their charger",
        "cpms_actors/charger/charger.py",
        "for each in self._unanswered()),\n",
        "for each in self._unanswered()[:0]),\n",
    ),
    Mutant(
        "whoever asked is answered where the charger was, too",
        "cpms_actors/charger/charger.py",
        "            asked.carried = True\n",
        "",
    ),
    Mutant(
        "the number of a connection does not move with it",
        "cpms_actors/charger/charger.py",
        "        self.connection = moved.connection\n",
        "",
    ),
    Mutant(
        "the journal is not told of a connection that moved",
        "cpms_actors/charger/charger.py",
        "        self._tell(Connected(line.version, line.remote))\n",
        "",
    ),
    Mutant(
        "a charger moves in the middle of a turn",
        "cpms_actors/charger/charger.py",
        "conversation is None or self.actor.busy or self.actor.stopped:\n",
        "conversation is None or self.actor.stopped:\n",
    ),
    Mutant(
        "a connection that waits for its slot is left waiting",
        "cpms_actors/node/worker_slots.py",
        "            for moved, passed in self._unpark(slot):\n                self._take_in(slot, moved, passed)\n",
        "            pass\n",
    ),
    Mutant(
        "a call does not wait for a connection on its way",
        "cpms_actors/charger/charger.py",
        "        answer = None\n        if self._arrival is not None:\n",
        "        answer = None\n        if False:\n",
    ),
    Mutant(
        "a call that came along does not wait for its connection",
        "cpms_actors/charger/charger.py",
        "                asked.scope = scope\n                if self._arrival is not None:\n",
        "                asked.scope = scope\n                if False:\n",
    ),
    Mutant(
        "an actor that was resumed leaves its mailbox alone",
        "supervisors/actor.py",
        "                if self.mailbox.queue is None:\n                    self._message",
        "                if self.mailbox.queue is None or at:\n                    self._message",
    ),
)


def caught(mutant: Mutant, seeds: int) -> tuple[bool, str]:
    """Whether a seed fails with it, and how. Raises ValueError when the source has changed and the mutant must follow."""
    source = (ROOT / mutant.file).read_text()
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.file} has its text {source.count(mutant.old)} times")
    with tempfile.TemporaryDirectory(prefix="cpms-mutant-") as folder:
        for package in PACKAGES:
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("__pycache__"))
        (Path(folder) / mutant.file).write_text(source.replace(mutant.old, mutant.new))
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent), "--json", "--until-failure", "--seeds", str(seeds)],
            env=os.environ | {"PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode and not done.stdout:
        return True, done.stderr.strip().rpartition("\n")[2]
    said = json.loads(done.stdout)
    failed = said["failed"]
    return bool(failed), f"seed {failed[0]['seed']} of {said['seeds']}: {failed[0]['failures'][0]}" if failed else f"{seeds} seeds"


def main() -> int:
    """The exit code: 1 when one got away."""
    parser = argparse.ArgumentParser(prog="just mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="that each is looked for in, as many as the tests run")
    parser.add_argument("--only", help="those with this in their name")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    began = time.monotonic()
    found: dict[str, str] = {}
    survivors: list[str] = []
    for mutant in MUTANTS:
        if asked.only and asked.only not in mutant.name:
            continue
        is_caught, how = caught(mutant, asked.seeds)
        found[mutant.name] = how
        if not is_caught:
            survivors.append(mutant.name)
        print(f"{'caught' if is_caught else 'SURVIVED'}: {mutant.name} ({how[:150]})", file=sys.stderr if asked.json else sys.stdout)
    if asked.json:
        seconds = round(time.monotonic() - began, 1)
        print(json.dumps({"mutants": len(found), "survivors": survivors, "seconds": seconds, "found": found}, indent=2))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
