"""The subjects of NATS, in one place (ARCHITECTURE.md has the table)."""

from typing import Final

from cpms_actors.base.ids import subject_token

JOURNAL_STREAM: Final = "CPMS_JOURNAL"
JOURNAL_ALL: Final = "cpms.journal.>"
REGISTRY_BUCKET: Final = "CPMS_REGISTRY"
LIVE_BUCKET: Final = "CPMS_LIVE"
SLOTS_BUCKET: Final = "CPMS_SLOTS"
IDS_BUCKET: Final = "CPMS_IDS"
WORKER_STATUS: Final = "cpms.worker.status"
TOKENS_DOORBELL: Final = "cpms.doorbell.tokens"
ROLLOUT: Final = "rollout"
DRAIN: Final = "drain"


def journal(lane: int) -> str:
    """Where a lane's pages go."""
    return f"cpms.journal.{lane}"


def slot_commands(slot: int) -> str:
    """What a worker subscribes to for a slot it owns: every command to every charger of the slot."""
    return f"cpms.charger.{slot}.>"


def charger_command(slot: int, tenant: str, charger: str, verb: str) -> str:
    """Where one charger's actor is asked."""
    return f"cpms.charger.{slot}.{subject_token(tenant)}.{subject_token(charger)}.{verb}"


def node(name: str, verb: str) -> str:
    """Where what runs on one machine is asked: `cpms up` for a ROLLOUT, its workers for a DRAIN."""
    return f"cpms.node.{subject_token(name)}.{verb}"


def session(lane: int | str, verb: str) -> str:
    """Where the session pool is asked; lane "*" for all."""
    return f"cpms.session.{lane}.{verb}"


def doorbell(pool: str) -> str:
    """ "There may be work": losing one costs seconds, never money."""
    return f"cpms.doorbell.{pool}"


def live(tenant: str, charger: str) -> str:
    """State changes of one charger, for dashboards."""
    return f"cpms.live.{subject_token(tenant)}.{subject_token(charger)}"


def admin(operator: str, verb: str) -> str:
    """One verb asked by an operator; the broker pins the operator to this token."""
    return f"cpms.admin.{operator}.{verb}"


def charger_key(slot: int, tenant: str, charger: str) -> str:
    """A charger's key in the live bucket."""
    return f"{slot}.{subject_token(tenant)}.{subject_token(charger)}"
