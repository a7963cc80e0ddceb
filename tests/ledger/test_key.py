"""Identity: the same call has the same operation everywhere, and no two calls share one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.key import Key, Ref, operation_id, ref_of, scope_of

_texts = st.text(max_size=12)
_odd_texts = st.text(st.characters(exclude_categories=()), max_size=12)
_keys = st.builds(Key, _odd_texts, _texts, _odd_texts, st.lists(_odd_texts, min_size=1, max_size=4).map(tuple))


def test_operation_of_a_known_key_never_changes() -> None:
    """The id is derived and stored nowhere: a version that derived another would run every call again."""
    key = Key("acme", "create_ticket", "header:x-run-id header:x-tool-call-id", ("run_1", "call_1"))
    assert operation_id(key) == "op_3eab7e0e137ba0d7d5e6c5847450000070c18969"


def test_operation_is_the_same_in_every_process() -> None:
    """Replicas and restarts agree, whatever their hash seeds."""
    key = Key("t", "tool", "s", ("a", "b"))
    code = f"from ledger.key import *; print(operation_id({key!r}))"
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == operation_id(key)


@pytest.mark.fault(8, 50)
@given(_keys, _keys)
def test_different_keys_are_different_operations(one: Key, other: Key) -> None:
    """Tenant, tool, source and each part count, with their borders, whatever characters they are made of."""
    assume(one != other)
    assert operation_id(one) != operation_id(other)


@pytest.mark.fault(50)
@given(st.lists(_texts, min_size=2, max_size=5), st.data())
def test_ids_that_concatenate_alike_stay_apart(parts: list[str], data: st.DataObject) -> None:
    """Moving the border between two ids makes another call of them."""
    index = data.draw(st.integers(0, len(parts) - 2))
    both = parts[index] + parts[index + 1]
    cut = data.draw(st.integers(0, len(both)))
    moved = [*parts[:index], both[:cut], both[cut:], *parts[index + 2 :]]
    one, other = (Key("t", "tool", "s", tuple(texts)) for texts in (parts, moved))
    assert (operation_id(one) == operation_id(other)) == (parts == moved)


@pytest.mark.fault(50)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("", "a")),
        (("a",), ("a", "")),
        (("1:a",), ("1", "a")),
        (("a1:b",), ("a", "b")),
        (("a\x00b", "c"), ("a", "b\x00c")),
    ],
)
def test_known_ways_to_concatenate_alike_do_not_work(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """Nothing that stands in an id passes for a border."""
    assert operation_id(Key("t", "tool", "s", one)) != operation_id(Key("t", "tool", "s", other))


@pytest.mark.fault(50)
def test_idempotency_key_never_meets_a_run_id() -> None:
    """Where an id was found is part of the identity."""
    assert operation_id(Key("t", "tool", "header:idempotency-key", ("x",))) != operation_id(
        Key("t", "tool", "header:x-run-id", ("x",))
    )


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_ids_with_lone_surrogates_have_operations_of_their_own(text: str) -> None:
    """A JSON body may hold halves of characters; they name a call like anything else."""
    assert operation_id(Key("t", "tool", "body:/id", (text,))) != operation_id(Key("t", "tool", "body:/id", ("?",)))


@given(_odd_texts, _texts)
def test_scope_holds_no_brace_and_one_slash(tenant: str, tool: str) -> None:
    """A scope is a hash tag and a path of two: nothing in a tenant's name can change either."""
    scope = scope_of(tenant, tool)
    assert scope.isascii()
    assert scope.count("/") == 1
    assert not set("{}\r\n ") & set(scope)


@pytest.mark.fault(8)
@given(st.tuples(_odd_texts, _texts), st.tuples(_odd_texts, _texts))
def test_different_tenants_and_tools_have_different_scopes(one: tuple[str, str], other: tuple[str, str]) -> None:
    """No tenant reaches another's keys by its name."""
    assert (scope_of(*one) == scope_of(*other)) == (one == other)


def test_ref_is_scope_and_operation() -> None:
    """The place of a record is known from its key alone."""
    key = Key("acme", "create ticket", "s", ("1",))
    assert ref_of(key) == Ref("acme/create%20ticket", operation_id(key))
