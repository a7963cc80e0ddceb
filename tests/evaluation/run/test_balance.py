"""The balancer: one instance after the other, and none that refuses connections while another is there."""

from __future__ import annotations

from evaluation.run.balance import DOWN_S, Balance


def test_instances_take_turns() -> None:
    """Each as often as the others."""
    balance = Balance(["a", "b", "c"])
    assert sorted(balance.pick(0) for _ in range(6)) == ["a", "a", "b", "b", "c", "c"]


def test_instance_that_refused_is_left_out_for_a_while() -> None:
    """It is asked again once that time is over."""
    balance = Balance(["a", "b"])
    balance.refused("a", 10)
    assert {balance.pick(10 + DOWN_S / 2) for _ in range(4)} == {"b"}
    assert {balance.pick(10 + DOWN_S) for _ in range(2)} == {"a", "b"}


def test_where_all_have_refused_all_are_asked() -> None:
    """One of them may be back: nobody is told that there is nobody."""
    balance = Balance(["a", "b"])
    for url in ("a", "b"):
        balance.refused(url, 0)
    assert {balance.pick(0) for _ in range(2)} == {"a", "b"}
