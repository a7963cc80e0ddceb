"""What policies say together must make sense."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.faults import PolicyErrors
from policies.loader import Loaded

Faults = Callable[[str], list[tuple[int, int, str, str]]]
Load = Callable[..., Loaded]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"
DEFAULTS = "apiVersion: holdfast.dev/v1\nkind: Defaults\n"


@pytest.mark.parametrize(
    ("lines", "column", "field", "said"),
    [
        ("timeouts: {connect: 90s}", 12, "timeouts.connect", "connect (90s) is not below upstream (90s, built in)"),
        ("timeouts: {upstream: 2s}", 12, "timeouts.upstream", "connect (2s, built in) is not below upstream (2s)"),
        (
            "timeouts: {hold: 691s}",
            12,
            "timeouts.hold",
            "hold (691s) is above upstream (90s, built in) + late (10m, built in)",
        ),
        (
            "timeouts: {late: 0s, upstream: 29s}",
            22,
            "timeouts.upstream",
            "hold (30s, built in) is above upstream (29s) + late (0s)",
        ),
        ("result: {remember: 23h}", 10, "result.remember", "remember (23h) is below retention (24h, built in)"),
        ("result: {retention: 8d}", 10, "result.retention", "remember (7d, built in) is below retention (8d)"),
        ("result: {retention: 9m}", 10, "result.retention", "retention (9m) is below longestRun (10m, built in)"),
        ("retry: {backoff: {base: 6s}}", 19, "retry.backoff.base", "backoff base (6s) is above its max (5s, built in)"),
        (
            "result: {final: [401], notFinal: [401]}",
            10,
            "result.final",
            "no status in final ([401]) is left beside notFinal ([401])",
        ),
        ("result: {notFinal: [202]}", 10, "result.notFinal", "notFinal ([202]) has a success in it"),
        ("effect: read\nkey: {onMissing: forward}", 7, "key.onMissing", "has no use beside effect: read"),
        ("effect: read\nfingerprint: {ignore: [body:/a]}", 15, "fingerprint.ignore", "has no use beside effect: read"),
    ],
)
def test_contradiction_is_told_at_its_place(faults: Faults, lines: str, column: int, field: str, said: str) -> None:
    """The inequalities of the timers, and rules that undo each other: with the values, and where each comes from."""
    ((line, found_column, found, message),) = faults(lines)
    assert (line, found_column, found) == (lines.count("\n") + 1, column, field)
    assert message.startswith(said)


def test_limits_of_the_inequalities_are_allowed(load: Load) -> None:
    """hold may be all of upstream and late; retention may be longestRun, and remember retention."""
    timers = (
        "timeouts: {connect: 1s, upstream: 1001ms, hold: 2001ms, late: 1s}\nresult: {retention: 10m, remember: 10m}\n"
    )
    assert load(a=f"{HEAD}tool: t\n{timers}").policies.of_tool("t") is not None


def test_contradiction_across_documents_is_told_in_the_policy(load: Load) -> None:
    """Where a policy and the folder's Defaults contradict each other, the policy is what was written against them."""
    with pytest.raises(PolicyErrors) as raised:
        load(d=DEFAULTS + "timeouts: {connect: 5s}\n", t=HEAD + "tool: t\ntimeouts: {upstream: 4s}\n")
    ((fault),) = raised.value.faults
    assert fault.place.file.endswith("t.yaml")
    assert fault.message == "connect (5s) is not below upstream (4s)"


def test_contradiction_within_defaults_is_told_once(load: Load) -> None:
    """However many policies inherit it."""
    with pytest.raises(PolicyErrors) as raised:
        load(d=DEFAULTS + "timeouts: {connect: 100s}\n", a=HEAD + "tool: a\n", b=HEAD + "tool: b\n")
    (fault,) = raised.value.faults
    assert fault.place.file.endswith("d.yaml")


def test_longest_run_is_held_against_every_policy(load: Load) -> None:
    """A policy that keeps results for less than the folder's longest run is told where it says so."""
    with pytest.raises(PolicyErrors) as raised:
        load(d=DEFAULTS + "longestRun: 2h\n", a=HEAD + "tool: a\nresult: {retention: 1h}\n", b=HEAD + "tool: b\n")
    (fault,) = raised.value.faults
    assert (fault.place.file[-6:], fault.field) == ("a.yaml", "result.retention")


def test_broken_value_is_not_also_called_a_contradiction(faults: Faults) -> None:
    """A timer that could not be read contradicts nothing yet."""
    assert [found[3] for found in faults("timeouts: {hold: 3000, upstream: 2s}")] == [
        "'3000' has no unit. Say which: 3000s or 3000ms.",
        (
            "connect (2s, built in) is not below upstream (2s). "
            "Dialling is over before the tool is waited for: make connect shorter."
        ),
    ]


def test_same_tool_twice_is_told_at_the_second(load: Load) -> None:
    """Even in another file, and only once although their matches tie as well."""
    with pytest.raises(PolicyErrors) as raised:
        load(a=HEAD + "tool: t\n", b=HEAD + "tool: t\n")
    (fault,) = raised.value.faults
    assert fault.place.file.endswith("b.yaml")
    assert (fault.place.line, fault.field) == (3, "tool")
    assert fault.message.startswith("t has a policy already, at ")
    assert fault.message.endswith("a.yaml:3")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "match: {path: /tools/a}"),
        ("match: {path: /x/*}", "match: {path: /x/*}"),
        ("match: {path: /x, method: [PUT, POST]}", "match: {path: /x, method: POST}"),
        ("match: {path: /a_b}", "match: {path: /a%5Fb}"),
        ("match: {path: /**}", "match: {path: /**}"),
    ],
)
def test_two_policies_for_one_request_are_a_tie(load: Load, one: str, other: str) -> None:
    """Neither is more specific, so neither may win by chance."""
    with pytest.raises(PolicyErrors) as raised:
        load(a=f"{HEAD}tool: a\n{one}\n", b=f"{HEAD}tool: b\n{other}\n")
    (fault,) = raised.value.faults
    assert fault.place.file.endswith("b.yaml")
    assert "just as a does, at " in fault.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("match: {path: /x}", "match: {path: /x, method: POST}"),
        ("match: {path: /x, method: PUT}", "match: {path: /x, method: POST}"),
        ("match: {path: /x/*}", "match: {path: /x/y}"),
        ("match: {path: /x/*}", "match: {path: /x/**}"),
        ("match: {path: /*/y}", "match: {path: /x/*}"),
    ],
)
def test_more_specific_policy_is_no_tie(load: Load, one: str, other: str) -> None:
    """By path from the left, then by a method that is named."""
    assert len(load(a=f"{HEAD}tool: a\n{one}\n", b=f"{HEAD}tool: b\n{other}\n").policies.policies) == 2
