"""What befalls a request: the same again by the same script, whatever else is asked in between."""

from __future__ import annotations

import pytest

from evaluation.tools.fate import BadOverride, Fate, Override, Plan, parse_override
from evaluation.tools.faults import Fault
from evaluation.tools.script import Script
from tests.evaluation.tools.conftest import scripted

OFTEN = """
tools:
  _default:
    latency: [0.1, 0.2]
    rates: {slow: 0.3, throttled: 0.2, applied-then-cut: 0.3}
"""


def plan(script: Script | str, override: Override | None = None, name: str = "create_ticket") -> Plan:
    """Return what befalls a tool's first request."""
    script = scripted(script) if isinstance(script, str) else script
    return Fate(script).plan(name, script.tool(name), "call_1", override)


def test_draws_do_not_depend_on_other_requests() -> None:
    """A subject's plans are the same whatever is asked about others in between, and differ from time to time."""
    script = scripted(OFTEN)
    tool, alone, among = script.tool("a"), Fate(script), Fate(script)
    first = [alone.plan("a", tool, "call_1") for _ in range(20)]
    second = []
    for number in range(20):
        among.plan("a", tool, f"other_{number}")
        among.plan("b", tool, "call_1")
        second.append(among.plan("a", tool, "call_1"))
    assert first == second
    assert len({one.before_s for one in first}) > 5
    assert {one.faults for one in first} > {()}


def test_other_seed_is_another_scenario() -> None:
    """The seed decides."""
    calls = [f"call_{number}" for number in range(30)]
    plans = []
    for seed in (1, 2):
        script = scripted(f"seed: {seed}\n{OFTEN}")
        fate = Fate(script)
        plans.append([fate.plan("a", script.tool("a"), call) for call in calls])
    assert plans[0] != plans[1]


def test_rate_that_is_raised_strikes_the_same_requests_and_more() -> None:
    """Each kind of fault is drawn for itself: changing one rate moves no other fault."""
    calls = [f"call_{number}" for number in range(200)]

    def struck(rates: str) -> list[tuple[Fault, ...]]:
        script = scripted(f"tools: {{_default: {{rates: {{{rates}}}}}}}")
        fate = Fate(script)
        return [fate.plan("a", script.tool("a"), call).faults for call in calls]

    rarely, often = struck("applied-then-cut: 0.1"), struck("applied-then-cut: 0.4, slow: 0.5")
    assert {n for n, faults in enumerate(rarely) if faults} < {
        n for n, faults in enumerate(often) if Fault.APPLIED_THEN_CUT in faults
    }


def test_at_most_one_end_befalls_a_request_and_the_first_wins() -> None:
    """Where all would strike, in whatever order the script has them, one that refuses at once does, in no time."""
    everything = ", ".join(f"{fault.value}: 1" for fault in reversed(Fault))
    found = plan(f"tools: {{create_ticket: {{rates: {{{everything}}}}}}}")
    assert found.faults == (Fault.UNAUTHORIZED,)
    assert (found.before_s, found.answer_s, found.end.applied) == (0, 0, False)


@pytest.mark.parametrize(
    ("rates", "faults", "before_s", "answer_s"),
    [
        ("", (), 0.5, 0.5),
        ("slow: 1", (Fault.SLOW,), 2, 2),
        ("over-limit: 1", (Fault.OVER_LIMIT,), 11, 11),
        ("over-limit: 1, slow: 1", (Fault.OVER_LIMIT,), 11, 11),
        ("late-answer: 1", (Fault.LATE_ANSWER,), 0.5, 11),
        ("slow: 1, late-answer: 1", (Fault.SLOW, Fault.LATE_ANSWER), 2, 11),
        ("slow: 1, applied-then-500: 1", (Fault.SLOW, Fault.APPLIED_THEN_500), 2, 2),
        ("slow: 1, not-applied-503: 1", (Fault.NOT_APPLIED_503,), 0, 0),
    ],
)
def test_times_are_the_scripts(rates: str, faults: tuple[Fault, ...], before_s: float, answer_s: float) -> None:
    """Until the effect, and until the answer: usual, slow, or past the caller's limit."""
    found = plan(f"""
        tools:
          create_ticket:
            {{latency: [0.5, 0.5], slow: [2, 2], limit: 10, past: [1, 1], rates: {{{rates}}}}}
    """)
    assert (found.faults, found.before_s, found.answer_s) == (faults, before_s, answer_s)


def test_latencies_go_by_how_often_a_request_has_come() -> None:
    """The first request of a call has the first one, the second its second, the last repeats; each call begins anew."""
    script = scripted("tools: {a: {latencies: [11, 0.5]}}")
    fate = Fate(script)
    assert [fate.plan("a", script.tool("a"), call).before_s for call in ("x", "y", "x", "x")] == [11, 11, 0.5, 0.5]


def test_override_says_what_befalls_a_request_and_nothing_else_does() -> None:
    """Faults and a latency, by name; the script's rates do not count."""
    script = "tools: {create_ticket: {latency: [5, 5], slow: [7, 7], rates: {throttled: 1}}}"
    found = plan(script, parse_override("slow, applied-then-cut"))
    assert (found.faults, found.before_s) == ((Fault.SLOW, Fault.APPLIED_THEN_CUT), 7)
    found = plan(script, parse_override("latency=0.25"))
    assert (found.faults, found.before_s, found.end.applied) == ((), 0.25, True)


@pytest.mark.parametrize(
    "text", ["lost", "latency=", "latency=-1", "latency=inf", "latency=nan", "slow applied-then-cut"]
)
def test_override_that_makes_no_sense_is_refused(text: str) -> None:
    """A test that misspells a fault does not go without it."""
    with pytest.raises(BadOverride):
        parse_override(text)


def test_lag_is_drawn_for_each_effect_under_its_reference() -> None:
    """It depends on the reference and on which effect under it, so that asking again does not change it."""
    script = scripted("tools: {create_ticket: {lag: [1, 3]}}")
    fate, tool = Fate(script), script.tool("create_ticket")
    lags = [fate.lag_s(tool, *which) for which in (("op_1", 0), ("op_1", 0), ("op_1", 1), ("op_2", 0))]
    assert lags[0] == lags[1]
    assert len(set(lags)) == 3
    assert all(1 <= lag <= 3 for lag in lags)
