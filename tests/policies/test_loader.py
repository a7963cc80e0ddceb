"""A folder as a whole: which files, how much of them, and every fault at once."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.faults import PolicyErrors
from policies.fields import LEAVES
from policies.loader import Loaded, load_folder
from tests.policies.conftest import matched, refusals

Load = Callable[..., Loaded]
ROOT = Path(__file__).parents[2]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"


@pytest.mark.fault(61)
def test_five_different_mistakes_are_five_faults(load: Load, tmp_path: Path) -> None:
    """Each with file, line, column and remedy, in one go, whatever kind it is."""
    with pytest.raises(PolicyErrors):
        load(
            a=HEAD + "tool: a\ntimeouts: {hold: 30}\nannounce: yes\n",
            b=HEAD + "tool: b\nmode: enforce\nmode: off\n---\n" + HEAD + "tool: c\neffectKey: {window: 90s}\n",
            d="kind: ToolPolicy\n  tool: d\n",
        )
    assert refusals(tmp_path) == [
        "P/a.yaml:4:18: timeouts.hold: '30' has no unit. Say which: 30s or 30ms.",
        "P/a.yaml:5:11: announce: 'yes' where true or false is expected. Write true or false, without quotes.",
        "P/b.yaml:5:1: the key 'mode' stands twice in this map, first on line 4. Keep one of them.",
        (
            "P/b.yaml:10:13: effectKey.window: has no use without effectKey.fields. "
            "Write effectKey.fields, or remove it."
        ),
        "P/d.yaml:2:7: not YAML: mapping values are not allowed here. Correct the syntax; later lines were not read.",
    ]


def test_shipped_policies_load_and_match_their_tools() -> None:
    """What we ship is worked examples: three writes and a read, each at /tools/<tool>."""
    policies = load_folder(ROOT / "policies").policies
    found = {policy.tool: matched(policies, "POST", f"/tools/{policy.tool}") for policy in policies.policies}
    assert {tool: policy.effect for tool, policy in found.items()} == {
        "create_ticket": "write",
        "refund_payment": "write",
        "search_kb": "read",
        "send_email": "write",
    }
    assert all(tool == policy.tool for tool, policy in found.items())


def test_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    """A folder that was mounted wrong must not mean that nothing is configured."""
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n")
    assert refusals(tmp_path)[0].startswith("P:1:1: no policy in any *.yaml or *.yml file of this folder.")


def test_second_defaults_is_told(load: Load, tmp_path: Path) -> None:
    """One for a folder: which of two would hold?"""
    defaults = "apiVersion: holdfast.dev/v1\nkind: Defaults\nmode: off\n"
    with pytest.raises(PolicyErrors):
        load(a=defaults, b=HEAD + "tool: b\n---\n" + defaults)
    assert refusals(tmp_path) == [
        "P/b.yaml:5:1: kind: a second Defaults; the first is at P/a.yaml:1. Keep one for the folder."
    ]


def test_anchor_may_be_used_in_its_document(load: Load) -> None:
    """Repetition within a policy can be spelled with YAML's own means."""
    policy = load(a=HEAD + "tool: a\ntimeouts: {connect: &t 5s, hold: *t}\n").policies.policies[0]
    assert policy.timeouts.connect_ms == policy.timeouts.hold_ms == 5_000


NAMES = sorted(
    {name for path in LEAVES for name in path.split(".")} | {"apiVersion", "kind", "probe", "effectKey", "<<"}
)
WORDS = st.sampled_from(
    [
        "ToolPolicy",
        "Defaults",
        "PolicyTest",
        "holdfast.dev/v1",
        "t",
        "no",
        "10:30",
        "30",
        "2s",
        "1MiB",
        "2xx",
        "404",
        "true",
        "null",
        "~",
        "header:X-A",
        "body:/a",
        "value:x",
        '"body:/a == 1"',
        "/tools/*",
        "/x/**",
        "http://h:1",
        "[POST]",
        "read",
        "off",
        "*a",
        "!t x",
        "&a b",
        "",
        "'",
        "|",
        "1e400",
        "0x",
        "-1",
    ]
) | st.text(max_size=8)
LINES = st.tuples(st.integers(0, 3), st.sampled_from(NAMES), WORDS).map(
    lambda parts: f"{'  ' * parts[0]}{parts[1]}: {parts[2]}"
)
YAML = st.lists(
    LINES | st.sampled_from(["---", "- a", "tool: t", "apiVersion: holdfast.dev/v1", "kind: ToolPolicy"]), max_size=20
).map("\n".join)
VALUES = st.recursive(
    WORDS.filter(lambda word: word.isprintable()),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4).map(
            lambda entries: "{" + ", ".join(f"{name}: {value}" for name, value in entries.items()) + "}"
        )
    ),
    max_leaves=12,
)
POLICY = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8).map(
    lambda entries: HEAD + "tool: t\n" + "".join(f"{name}: {value}\n" for name, value in entries.items())
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(YAML | POLICY | st.text(max_size=80) | st.binary(max_size=80), min_size=1, max_size=2))
def test_any_files_are_policies_or_faults(tmp_path: Path, texts: list[str | bytes]) -> None:
    """Nothing but `PolicyErrors` comes out of a folder, whatever is in it; each fault has a place and a remedy."""
    for old in tmp_path.iterdir():
        old.unlink()
    for number, text in enumerate(texts):
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        (tmp_path / f"{number}.yaml").write_bytes(data)
    try:
        loaded = load_folder(tmp_path)
    except PolicyErrors as errors:
        for fault in errors.faults:
            assert fault.place.file.startswith(str(tmp_path))
            assert fault.place.line >= 1
            assert fault.message
            assert fault.remedy.endswith((".", "?"))
        return
    for policy in loaded.policies.policies:
        assert loaded.policies.match("POST", policy.match.path) is not None
        assert [shown.field for shown in loaded.shown(policy.tool)] == list(LEAVES)


def test_reading_many_policies_takes_bounded_time(tmp_path: Path) -> None:
    """The work is in proportion to the text: a hundred policies are parsed within the bounds of a start."""
    body = textwrap.dedent("""
        timeouts: {connect: 2s, upstream: 90s}
        result: {final: [2xx, 4xx]}
    """)
    for number in range(100):
        (tmp_path / f"{number}.yaml").write_text(HEAD + f"tool: t{number}" + body)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        load_folder(tmp_path)
    finally:
        sys.setprofile(None)
    assert calls < 6_000_000
