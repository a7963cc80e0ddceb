"""Three layers, and where each field comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from policies.fields import LEAVES
from policies.loader import Loaded, built_in
from policies.merge import BUILT_IN, build
from policies.model import Match, ToolPolicy
from tests.policies.conftest import matched

Load = Callable[..., Loaded]

DEFAULTS = """
apiVersion: holdfast.dev/v1
kind: Defaults
longestRun: 20m
upstream: {url: "http://shared:9000"}
timeouts:
  upstream: 60s
  hold: 20s
result: {notFinal: [401, 429]}
retry: {backoff: {base: 1s}}
"""
POLICY = """
apiVersion: holdfast.dev/v1
kind: ToolPolicy
tool: t
timeouts: {hold: 10s}
result: {notFinal: [503], maxBody: 2MiB}
retry: {backoff: {max: 30s}}
"""


def test_policy_that_says_nothing_is_the_models(load: Load) -> None:
    """There is one list of defaults, the model's."""
    loaded = load(a="apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\n")
    assert loaded.policies.policies == (ToolPolicy(tool="t", match=Match("/tools/t")),)


def test_every_built_in_value_reads_back_as_itself() -> None:
    """Each leaf of the table has its place in the model, and building from the built-in values gives the model."""
    assert build(BUILT_IN) == ToolPolicy(tool="_unmatched", match=Match("/**"))
    assert built_in().policies.unmatched_write == build(BUILT_IN)
    assert {setting.where for setting in BUILT_IN.values()} == {"built in"}


def test_maps_merge_by_field_and_lists_replace(load: Load) -> None:
    """The policy's own field stands before the folder's, and that before the built-in one, at any depth."""
    policy = load(defaults=DEFAULTS, t=POLICY).policies.policies[0]
    assert (policy.timeouts.hold_ms, policy.timeouts.upstream_ms, policy.timeouts.connect_ms) == (10_000, 60_000, 2_000)
    assert (policy.retry.backoff_base_ms, policy.retry.backoff_max_ms) == (1_000, 30_000)
    assert policy.result.not_final == {503}
    assert policy.longest_run_ms == 20 * 60_000
    assert policy.upstream.url == "http://shared:9000"


def test_each_leaf_says_where_it_comes_from(load: Load, tmp_path: Path) -> None:
    """File and line, or `built in`, for every leaf there is."""
    provenance = load(defaults=DEFAULTS, t=POLICY).provenance("t")
    assert set(provenance) == set(LEAVES)
    assert provenance["timeouts.hold"] == f"{tmp_path}/t.yaml:5"
    assert provenance["result.notFinal"] == f"{tmp_path}/t.yaml:6"
    assert provenance["timeouts.upstream"] == f"{tmp_path}/defaults.yaml:7"
    assert provenance["timeouts.connect"] == provenance["match.path"] == "built in"


def test_defaults_hold_for_what_no_policy_names(load: Load) -> None:
    """An unnamed write is guarded as the folder's defaults say."""
    loaded = load(defaults=DEFAULTS)
    assert matched(loaded.policies, "POST", "/x").timeouts.upstream_ms == 60_000
    assert loaded.provenance("_unmatched")["timeouts.upstream"].endswith("defaults.yaml:7")


def test_null_takes_a_default_away(load: Load) -> None:
    """One tool may do without the folder's upstream or tenant."""
    defaults = DEFAULTS + "key: {tenant: header:X-Tenant-Id}\n"
    policy = load(d=defaults, t=POLICY + "upstream: {url: null}\nkey: {tenant: null}\n").policies.policies[0]
    assert policy.upstream.url is None
    assert policy.key.tenant is None


def test_shown_values_are_what_a_policy_would_say(load: Load) -> None:
    """`explain` shows units, classes and selectors, not milliseconds and sets."""
    shown = {field.field: field.value for field in load(d=DEFAULTS, t=POLICY).shown("t")}
    assert shown["timeouts.hold"] == "10s"
    assert shown["result.final"] == ["2xx", "3xx", "4xx"]
    assert shown["result.maxBody"] == "2MiB"
    assert shown["key.from"][1] == ["header:Idempotency-Key"]
