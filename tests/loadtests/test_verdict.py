"""The rule of the verdict: pure."""

import pytest
from msgspec.structs import replace

from loadtests import firmware_rollout, meter_flood, poison_chargers, power_outage, roaming_peak, rollout
from loadtests.report import Billed, ChargerReport, SessionReport, StormReport, Truth
from loadtests.verdict import Verdict, judge

NAMES = frozenset({"A", "B"})
SESSION = SessionReport(energy_wh=700, told=12, acknowledged=12, completed=True)


def chargers(**changes: object) -> tuple[ChargerReport, ...]:
    """Two chargers that were back; B with the changes."""
    fine = ChargerReport("A", admitted=True, back_s=1.5, sessions=(SESSION,))
    return fine, replace(replace(fine, identity="B", back_s=2.5), **changes)


REPORT = StormReport(
    10.0, began_at=1.0, cut_at=2.0, chargers=chargers(), answers=8, p50_ms=1.0, p99_ms=2.0, slowest_ms=3.0, lag_ms=40.0
)
BILLED = (Billed("A", 1, 700), Billed("B", 2, 700))
TRUTH = Truth(connected=NAMES, booted=NAMES, ended=BILLED, cdrs=BILLED, ocpp=dict.fromkeys(NAMES, "1.6"))


def outage(report: StormReport = REPORT, truth: Truth = TRUTH) -> Verdict:
    return judge("power-outage", report, truth, power_outage.SCENARIO.judge, 4.04)


def flood(report: StormReport = REPORT, truth: Truth = TRUTH) -> Verdict:
    return judge("meter-flood", report, truth, meter_flood.SCENARIO.judge, 4.04)


def test_a_storm_that_was_borne_passes() -> None:
    expected = Verdict("pass", [], "power-outage", 2, 2, 0, 4.0, 1.0, 2.0, 3.0, 8, 2.5, 40.0, "1.6")
    assert outage() == expected
    assert flood().verdict == "pass"


@pytest.mark.parametrize(
    ("report", "truth", "reason"),
    [
        (replace(REPORT, chargers=chargers(admitted=False)), TRUTH, "1 charger never connected and booted, by their own account: B"),
        (REPORT, replace(TRUTH, connected=frozenset({"A"})), "1 charger not connected, by the system's account: B"),
        (REPORT, replace(TRUTH, booted=frozenset({"A"})), "1 charger not booted since, by the system's account: B"),
        (REPORT, replace(TRUTH, ocpp={"A": "1.6"}), "1 charger of another version of OCPP, by the system's account: B"),
        (replace(REPORT, chargers=chargers(timeouts=1)), TRUTH, "1 charger waited in vain for an answer: B"),
        (replace(REPORT, chargers=chargers(errors=1)), TRUTH, "1 charger answered with an error: B"),
        (replace(REPORT, chargers=chargers(failures=("B: fell",))), TRUTH, "1 failures, the first: B: fell"),
        (replace(REPORT, chargers=chargers(back_s=None)), TRUTH, "1 charger left out after the cut: B"),
        (replace(REPORT, slowest_ms=30_001.0), TRUTH, "the slowest answer took 30.0 s, more than 30"),
        (replace(REPORT, answers=0), TRUTH, "no charger got any answer"),
        (replace(REPORT, late=("it took too long",)), TRUTH, "it took too long"),
        (replace(REPORT, cut_at=None), TRUTH, "the sockets were never cut"),
        (REPORT, replace(TRUTH, parked=("B", "B")), "1 charger with messages that the system could not use: B"),
    ],
)
def test_each_fault_is_the_one_reason_of_a_failed_outage(report: StormReport, truth: Truth, reason: str) -> None:
    verdict = outage(report, truth)
    assert (verdict.verdict, verdict.reasons) == ("fail", [reason])


def test_thirty_seconds_are_not_too_late() -> None:
    assert outage(replace(REPORT, slowest_ms=30_000.0)).verdict == "pass"


def test_who_is_admitted_is_what_both_sides_say() -> None:
    one_sided = replace(REPORT, chargers=chargers(admitted=False))
    assert outage(one_sided, replace(TRUTH, connected=frozenset({"B"}))).admitted == 0


@pytest.mark.parametrize(
    ("report", "truth", "words"),
    [
        (REPORT, replace(TRUTH, cdrs=BILLED[:1]), "2 ended and 0 active sessions, 1 charge detail records"),
        (REPORT, replace(TRUTH, cdrs=(*BILLED, Billed("B", 2, 700))), "3 charge detail records"),
        (REPORT, replace(TRUTH, active=(Billed("B", 3, 0),)), "1 active"),
        (REPORT, replace(TRUTH, cdrs=(BILLED[0], Billed("B", 2, 701))), "other charge detail records than their cars had: B"),
        (REPORT, replace(TRUTH, ended=(BILLED[0], Billed("B", 2, 701))), "other sessions than their cars had: B"),
        (replace(REPORT, chargers=chargers(sessions=())), TRUTH, "without exactly one session: B"),
        (replace(REPORT, chargers=chargers(sessions=(replace(SESSION, acknowledged=11),))), TRUTH, "never acknowledged: B"),
        (replace(REPORT, chargers=chargers(sessions=(replace(SESSION, completed=False),))), TRUTH, "never acknowledged: B"),
        (replace(REPORT, seconds=12.0), TRUTH, "sent fewer than 13 messages"),
    ],
)
def test_each_fault_of_a_flood_is_a_reason(report: StormReport, truth: Truth, words: str) -> None:
    verdict = flood(report, truth)
    assert verdict.verdict == "fail"
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (replace(TRUTH, parked=("A", "A", "B")), "that sent no rubbish have messages parked: B"),
        (replace(TRUTH, parked=("A",)), "whose rubbish is nowhere to be seen: A"),
        (replace(TRUTH, parked=("A", "A"), cdrs=BILLED[:1]), "1 charge detail records"),
    ],
)
def test_rubbish_must_be_seen_and_be_of_who_sent_it(truth: Truth, words: str) -> None:
    report = replace(REPORT, seconds=float(poison_chargers.RUBBISH_EACH))
    rule = poison_chargers.SCENARIO.judge
    assert judge("poison-chargers", report, replace(TRUTH, parked=("A", "A")), rule, 1.0, may_park=True).verdict == "pass"
    verdict = judge("poison-chargers", report, truth, rule, 1.0, may_park=True)
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


def test_who_is_unknown_must_not_charge() -> None:
    crowd = tuple(ChargerReport(f"C{number}", admitted=True, sessions=(SESSION,) * roaming_peak.SESSIONS) for number in range(10))
    names = frozenset(charger.identity for charger in crowd)
    report = replace(REPORT, chargers=(*crowd[:9], replace(crowd[9], sessions=())))
    charged = tuple(Billed(f"C{number}", number, 700) for number in range(9) for _ in range(roaming_peak.SESSIONS))
    truth = Truth(connected=names, booted=names, ended=charged, cdrs=charged)
    assert roaming_peak.SCENARIO.judge(report, truth) == []
    too_many = replace(truth, ended=(*charged, Billed("C9", 99, 1)), cdrs=(*charged, Billed("C9", 99, 1)))
    assert roaming_peak.SCENARIO.judge(report, too_many) == ["1 charger charged with tokens that nobody knows: C9"]


@pytest.mark.parametrize(
    ("firmware", "failed"), [({"A": "1.0.0", "B": "2.0.0"}, False), ({"A": "2.0.0", "B": "1.0.0"}, True), ({}, True)]
)
def test_the_second_half_of_a_rollout_must_run_the_new_firmware(firmware: dict[str, str | None], failed: bool) -> None:
    report = replace(REPORT, chargers=(REPORT.chargers[0], replace(REPORT.chargers[1], sessions=())))
    truth = replace(TRUTH, ended=BILLED[:1], cdrs=BILLED[:1], firmware=firmware)
    reasons = ["1 charger not with the new firmware, by the system's account: B"] if failed else []
    assert firmware_rollout.SCENARIO.judge(report, truth) == reasons


def test_nobody_may_be_disconnected_by_a_rollout() -> None:
    rule = rollout.SCENARIO.judge
    assert judge("rollout", replace(REPORT, chargers=chargers(connections=1)), TRUTH, rule, 1.0).verdict == "pass"
    again = judge("rollout", replace(REPORT, chargers=chargers(connections=2)), TRUTH, rule, 1.0)
    assert again.reasons == ["1 charger disconnected: B"]


def test_a_reason_names_five_chargers_and_counts_the_others() -> None:
    crowd = tuple(ChargerReport(f"C{number}", admitted=False) for number in range(7))
    assert (
        "7 chargers never connected and booted, by their own account: C0, C1, C2, C3, C4 and 2 more"
        in outage(replace(REPORT, chargers=crowd)).reasons
    )
