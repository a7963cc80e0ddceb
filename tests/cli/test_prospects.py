"""What each turn would bring, by the policy's word."""

from __future__ import annotations

import pytest

from cli import prospects
from ledger.records import ProbePlan
from policies.model import (
    HOUR_MS,
    EffectRules,
    KeyRules,
    Match,
    Predicate,
    Probe,
    Retry,
    Selector,
    ToolPolicy,
    UnknownRules,
    Upstream,
)

PLAIN = ToolPolicy(tool="t", match=Match("/t"))
PROBE = Probe("/t/{operation}", Predicate(Selector("body", "/id"), "exists"), free_after_ms=120_000)
PLAN = ProbePlan("/t/op_1", 2_000)


def told(policy: ToolPolicy) -> dict[str, str]:
    """Return what each turn brings, by its name."""
    return {name: value for name, value, _ in prospects.answers(policy)}


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("observe", "forwarded, and counted"),
        ("hold", "then is forwarded"),
        ("replay", "the first one's result, up to 90s after its success"),
        ("refuse", "409 effect-duplicate that names the first, up to 90s after"),
    ],
)
def test_same_effect_gets_what_the_policy_says(then: str, said: str) -> None:
    """Nothing is said of it where the policy knows no effects."""
    rules = EffectRules((Selector("body", "/a"),), then=then)  # type: ignore[arg-type]
    assert said in told(ToolPolicy(tool="t", match=Match("/t"), effect_key=rules))["same effect, other key"]
    assert "same effect, other key" not in told(PLAIN)


def test_reused_ids_are_refused_or_told_apart() -> None:
    """By key.onReuse."""
    assert told(PLAIN)["same key, other content"].startswith("422 key-reused")
    separate = ToolPolicy(tool="t", match=Match("/t"), key=KeyRules(on_reuse="separate"))
    assert told(separate)["same key, other content"].startswith("another call")


def test_retries_say_after_what() -> None:
    """Tools that honour a key are asked again after more."""
    retry = Retry(attempts=3, on=("not-sent", "lost", "5xx"))
    found = told(ToolPolicy(tool="t", match=Match("/t"), retry=retry))
    assert found["tool not reached"].startswith("3 tries, also after lost and 5xx, then")
    once = ToolPolicy(tool="t", match=Match("/t"), retry=Retry(attempts=1))
    assert told(once)["tool not reached"].startswith("502 or 504")


def test_unknown_outcome_ends_by_a_probe_or_a_resend_or_a_person() -> None:
    """With the probe's own target and times, and the window of the resend."""
    probed = ToolPolicy(tool="t", match=Match("/t"), unknown=UnknownRules(probe=PROBE))
    assert list(prospects.unknown(probed, PLAN)) == [
        ("probe", "GET /t/op_1: first after 2s, then every 5s for 60s", "unknown.probe.get"),
        ("not found", "the key is free once it is not there 2m after", "unknown.probe.notApplied"),
    ]
    assert "lacks something" in next(prospects.unknown(probed, None))[1]
    resent = ToolPolicy(
        tool="t", match=Match("/t"), upstream=Upstream(None, Selector("header", "K"), 24 * HOUR_MS),
        unknown=UnknownRules("resend", 23 * HOUR_MS),
    )  # fmt: skip
    ((name, value, _),) = prospects.unknown(resent, None)
    assert (name, value) == ("resend", "by header:K with the operation id, up to 23h after the first attempt")
    assert "result of a resend" in told(resent)["connection lost"]
    assert not list(prospects.unknown(PLAIN, None))
    assert told(PLAIN)["connection lost"].endswith("409 outcome-unknown, never a second call")
