"""What every coordinator's store must do: owners, due times, and nudges."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.store import Standing, Then
from tests.coordinator.run_bench import LONG_MS, SHORT_MS, WHILE_MS, Ear, RunBench, a_put, idle, put, taken, there


async def test_due_places_are_taken_the_longest_due_first(bench: RunBench) -> None:
    """Up to the limit; each is then the taker's, for everybody to see."""
    for key in ("run_3", "run_1", "run_2"):
        await put(bench.store, a_put(key, record=key.encode()))
        await bench.pass_ms(2)
    first, second = await bench.peer.take("a", 2, LONG_MS)
    assert (first.key, first.record, first.owner) == ("run_3", b"run_3", "a")
    assert (second.key, second.owner) == ("run_1", "a")
    assert await bench.store.read("run_3") == first
    assert await taken(bench.store, "b") == ["run_2"]
    assert await taken(bench.store, "b") == []


async def test_place_that_is_not_due_yet_is_not_taken(bench: RunBench) -> None:
    """Released for later, or for never, it is nobody's; when its time comes, it is due."""
    await put(bench.store, a_put("run_1", then="release", in_ms=WHILE_MS), idle("run_2"))
    await put(bench.store, a_put("run_3", then="release", in_ms=LONG_MS))
    assert await taken(bench.store) == []
    await bench.pass_ms(WHILE_MS + 1)
    assert await taken(bench.store) == ["run_1"]


async def test_hundred_takers_of_one_due_place_make_one_owner(bench: RunBench) -> None:
    """However many look at the same time, a place has one owner."""
    await put(bench.store, a_put())
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].take(f"o{i}", 10, LONG_MS) for i in range(100)))
    (winner,) = [i for i, places in enumerate(answers) if places]
    assert (await there(bench.store)).owner == f"o{winner}"


async def test_hundred_due_places_go_to_many_takers_once_each(bench: RunBench) -> None:
    """Replicas share what is due, and none is left out."""
    await put(bench.store, *(a_put(f"run_{i:03}") for i in range(100)))
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].take(f"o{i}", 7, LONG_MS) for i in range(20)))
    keys = [place.key for places in answers for place in places]
    assert sorted(keys) == [f"run_{i:03}" for i in range(100)]


async def test_place_of_an_owner_that_is_gone_falls_due(bench: RunBench) -> None:
    """Past its visibility it shows no owner, and whoever takes it owns it; the old owner has lost it."""
    await put(bench.store, a_put())
    assert await taken(bench.store, "a", visibility_ms=SHORT_MS) == ["run_1"]
    await bench.pass_ms(SHORT_MS + 1)
    assert (await there(bench.store)).owner == ""
    assert await taken(bench.peer, "b") == ["run_1"]
    assert await bench.store.renew("a", ["run_1"], LONG_MS) == set()
    assert (await there(bench.store)).owner == "b"


async def test_owner_that_renews_keeps_its_places(bench: RunBench) -> None:
    """Those that it still owns are extended and returned; others' and absent ones are not."""
    await put(bench.store, a_put("run_1"), a_put("run_2"), idle("run_3"))
    assert len(await taken(bench.store, "a", visibility_ms=WHILE_MS)) == 2
    await put(bench.store, a_put("run_4"))
    assert await taken(bench.store, "b") == ["run_4"]
    keys = ["run_1", "run_2", "run_3", "run_4", "run_5"]
    assert await bench.store.renew("a", keys, LONG_MS) == {"run_1", "run_2"}
    assert await bench.store.renew("a", [], LONG_MS) == set()
    await bench.pass_ms(WHILE_MS + 1)
    assert await taken(bench.store, "c") == []
    assert (await there(bench.store)).owner == "a"


async def test_owner_whose_visibility_is_over_may_renew_until_somebody_takes(bench: RunBench) -> None:
    """Late is not lost: it is the taking that ends an ownership."""
    await put(bench.store, a_put())
    await taken(bench.store, "a", visibility_ms=SHORT_MS)
    await bench.pass_ms(SHORT_MS + 1)
    assert await bench.store.renew("a", ["run_1"], LONG_MS) == {"run_1"}
    assert await taken(bench.store, "b") == []
    assert (await there(bench.store)).owner == "a"


async def test_released_place_is_nobodys_and_falls_due_in_time(bench: RunBench) -> None:
    """An owner that releases does not own any more."""
    await put(bench.store, first := a_put(owner="a", then="keep", in_ms=LONG_MS))
    assert await taken(bench.store, "b") == []
    await put(bench.store, a_put(expected=first.version, owner="a", then="release", in_ms=0))
    assert (await there(bench.store)).owner == ""
    assert await bench.store.renew("a", ["run_1"], LONG_MS) == set()
    assert await taken(bench.store, "b") == ["run_1"]


async def test_owner_that_keeps_is_visible_for_longer(bench: RunBench) -> None:
    """A write that keeps counts its time from now."""
    await put(bench.store, first := a_put(owner="a", then="keep", in_ms=WHILE_MS))
    await put(bench.store, a_put(expected=first.version, owner="a", then="keep", in_ms=LONG_MS))
    await bench.pass_ms(WHILE_MS + 1)
    assert (await there(bench.store)).owner == "a"
    assert await taken(bench.store, "b") == []


@pytest.mark.parametrize("then", ["keep", "release"])
@pytest.mark.parametrize("writer", ["b", "c"])
async def test_write_by_who_is_not_the_owner_leaves_ownership_alone(bench: RunBench, then: Then, writer: str) -> None:
    """A stale owner may write by version; owner and due time stay the present owner's."""
    await put(bench.store, first := a_put(owner="a", then="keep", in_ms=LONG_MS))
    second = a_put(expected=first.version, record=b"by another", owner=writer, then=then, in_ms=0)
    await put(bench.peer, second)
    assert await there(bench.store) == Standing("run_1", second.version, b"by another", "a")
    assert await taken(bench.store, writer) == []
    assert await bench.store.renew("a", ["run_1"], LONG_MS) == {"run_1"}


async def test_write_after_the_owners_visibility_takes_the_place_over(bench: RunBench) -> None:
    """Once it is over, who keeps owns the place, and who releases frees it."""
    await put(bench.store, a_put("run_1"), a_put("run_2"))
    await taken(bench.store, "a", visibility_ms=SHORT_MS)
    await bench.pass_ms(SHORT_MS + 1)
    one, two = await there(bench.store, "run_1"), await there(bench.store, "run_2")
    await put(bench.store, a_put("run_1", one.version, owner="b", then="keep", in_ms=LONG_MS))
    await put(bench.store, a_put("run_2", two.version, owner="b", then="release"))
    assert (await there(bench.store, "run_1")).owner == "b"
    assert await bench.store.renew("a", ["run_1", "run_2"], LONG_MS) == set()
    assert await taken(bench.store, "c") == []


async def test_hurry_makes_a_place_due_now(bench: RunBench) -> None:
    """Whether it was to fall due later or never; where nothing stands, nothing happens."""
    await put(bench.store, idle("run_1"), a_put("run_2", then="release", in_ms=LONG_MS))
    assert await bench.peer.hurry("run_1") is True
    assert await bench.peer.hurry("run_2") is True
    assert await bench.peer.hurry("run_3") is False
    assert sorted(await taken(bench.store)) == ["run_1", "run_2"]
    assert await bench.store.read("run_3") is None


async def test_hurry_of_what_is_due_does_not_send_it_to_the_end(bench: RunBench) -> None:
    """The longest due stays the longest due."""
    await put(bench.store, a_put("run_2"))
    await bench.pass_ms(2)
    await put(bench.store, a_put("run_1"))
    await bench.pass_ms(2)
    await bench.store.hurry("run_2")
    assert await taken(bench.store) == ["run_2", "run_1"]


async def test_nudged_owner_keeps_the_place_and_its_release_makes_it_due_at_once(bench: RunBench) -> None:
    """What came while it was at work is looked at next, whatever its write says; the next owner has no nudge left."""
    await put(bench.store, first := a_put())
    await taken(bench.store, "a")
    assert await bench.peer.hurry("run_1") is True
    assert await taken(bench.peer, "b") == []
    kept = a_put(expected=first.version, owner="a", then="keep", in_ms=LONG_MS)
    await put(bench.store, kept)
    assert await bench.store.renew("a", ["run_1"], LONG_MS) == {"run_1"}
    await put(bench.store, released := a_put(expected=kept.version, owner="a", then="release", in_ms=LONG_MS))
    assert await taken(bench.peer, "b") == ["run_1"]
    await put(bench.store, a_put(expected=released.version, owner="b", then="release", in_ms=LONG_MS))
    assert await taken(bench.store, "c") == []


async def test_write_that_hurries_nudges_the_owner_and_leaves_it_the_place(bench: RunBench) -> None:
    """`hurry` writes and nudges in one step, whoever writes and whatever else it says."""
    await put(bench.store, first := a_put())
    await taken(bench.store, "a")
    second = a_put(expected=first.version, owner="b", in_ms=LONG_MS)
    await put(bench.peer, second)
    assert (await there(bench.store)).owner == "a"
    await put(bench.store, a_put(expected=second.version, owner="a", then="release"))
    assert await taken(bench.store, "c") == ["run_1"]


async def test_nudge_of_an_owner_whose_visibility_is_over_is_not_lost(bench: RunBench) -> None:
    """It is its owner still, until somebody takes: its late release does not put off what the nudge asked for."""
    await put(bench.store, first := a_put())
    await taken(bench.store, "a", visibility_ms=SHORT_MS)
    await bench.pass_ms(SHORT_MS + 1)
    await bench.store.hurry("run_1")
    await put(bench.store, a_put(expected=first.version, owner="a", then="release", in_ms=LONG_MS))
    assert await taken(bench.store, "b") == ["run_1"]


async def test_keeping_what_was_anothers_forgets_the_nudges_before_it(bench: RunBench) -> None:
    """Who takes a place over by a write has seen what stands there: no nudge is left of the owner before."""
    await put(bench.store, first := a_put())
    await taken(bench.store, "a", visibility_ms=SHORT_MS)
    await bench.store.hurry("run_1")
    await bench.pass_ms(SHORT_MS + 1)
    await put(bench.store, kept := a_put(expected=first.version, owner="b", then="keep", in_ms=LONG_MS))
    await put(bench.store, a_put(expected=kept.version, owner="b", then="release", in_ms=LONG_MS))
    assert await taken(bench.store, "c") == []


async def test_taking_forgets_the_nudges_before_it(bench: RunBench) -> None:
    """Who takes a place looks at it: what had been nudged is no longer."""
    await put(bench.store, first := a_put())
    await taken(bench.store, "a", visibility_ms=SHORT_MS)
    await bench.store.hurry("run_1")
    await bench.pass_ms(SHORT_MS + 1)
    await taken(bench.store, "b")
    await put(bench.store, a_put(expected=first.version, owner="b", then="release", in_ms=LONG_MS))
    assert await taken(bench.store, "c") == []


async def test_nudge_reaches_the_owner_in_another_process(bench: RunBench) -> None:
    """By `hurry`, by a write that hurries, by a notification: the owner hears which place."""
    ear = Ear(bench.peer, "a")
    await put(bench.peer, one := a_put("run_1"), a_put("run_2"), a_put("run_3"))
    await taken(bench.peer, "a")
    await ear.hears("")
    await bench.store.hurry("run_2")
    await ear.hears("run_2")
    await put(bench.store, a_put("run_1", one.version))
    await ear.hears("run_1")
    await bench.store.hear("w", LONG_MS, "run_3")
    await ear.hears("run_3")


async def test_nudge_is_not_for_other_owners(bench: RunBench) -> None:
    """Who owns something else is not told of a place; who listens anew takes the earlier one's place."""
    early, ear, other = Ear(bench.store, "a"), Ear(bench.store, "a"), Ear(bench.peer, "b")
    await put(bench.store, a_put("run_1"))
    await taken(bench.store, "a")
    await other.hears("")
    await ear.hears("")
    await put(bench.store, a_put("run_2"))
    await taken(bench.store, "b")
    await bench.store.hurry("run_1")
    await bench.store.hurry("run_2")
    await ear.hears("run_1")
    await other.hears("run_2")
    assert "run_2" not in ear.heard
    assert "run_1" not in other.heard
    assert "run_1" not in early.heard


async def test_everybody_hears_that_something_is_due_which_nobody_owns(bench: RunBench) -> None:
    """A write, a release for now, a hurry: each has all who listen look at once."""
    await put(bench.store, third := a_put("run_3", owner="a", then="keep", in_ms=LONG_MS), idle("run_2"))
    ears = [Ear(bench.store, "a"), Ear(bench.peer, "b")]
    await put(bench.store, a_put("run_0"))
    for ear in ears:
        await ear.hears("")  # by now they are subscribed, where that is how they hear
    for act in (
        lambda: bench.store.swap(a_put("run_1")),
        lambda: bench.store.hurry("run_2"),
        lambda: bench.store.swap(a_put("run_3", third.version, owner="a", then="release", in_ms=0)),
        lambda: bench.store.post("e_1", b"entry", 10),
    ):
        for ear in ears:
            ear.heard.clear()
        await act()
        for ear in ears:
            await ear.hears("")
