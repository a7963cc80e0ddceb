"""What every coordinator's store must do, in the words of its port (`coordinator.store`): swaps and reads."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.store import Astray, Standing, Written
from ledger.store import StoreUnavailable
from tests.coordinator.run_bench import LONG_MS, SHORT_MS, WHILE_MS, RunBench, a_put, idle, keys_of, put, taken, there


async def test_place_that_was_written_is_read_by_anybody(bench: RunBench) -> None:
    """Where nothing stood, the first write stands, for every process."""
    assert await bench.store.read("run_1") is None
    first = idle(record=b"first")
    assert await bench.store.swap(first) == Written()
    assert await bench.store.read("run_1") == Standing("run_1", first.version, b"first", "")
    assert await bench.peer.read("run_1") == Standing("run_1", first.version, b"first", "")


async def test_write_of_the_expected_version_replaces_all_of_a_place(bench: RunBench) -> None:
    """Record, label and times are the newest write's, nothing of the one before."""
    first = a_put(label="queued", record=b"first", owner="a", then="keep", in_ms=LONG_MS, forget_ms=LONG_MS)
    second = a_put(expected=first.version, label="done", record=b"second", owner="a", then="release")
    await put(bench.store, first)
    await put(bench.store, second)
    assert await there(bench.store) == Standing("run_1", second.version, b"second", "")
    assert await bench.store.counts() == {"done": 1}
    assert await taken(bench.store) == []


async def test_write_of_another_version_gets_what_stands_and_changes_nothing(bench: RunBench) -> None:
    """Who expected nothing, or what is no more, is handed what stands."""
    first, second = idle(record=b"first"), a_put(record=b"second", owner="a", then="keep", in_ms=LONG_MS)
    await put(bench.store, first)
    assert await bench.peer.swap(second) == Astray("run_1", Standing("run_1", first.version, b"first"))
    assert await bench.peer.swap(idle(expected="v0")) == Astray("run_1", Standing("run_1", first.version, b"first"))
    assert await there(bench.store) == Standing("run_1", first.version, b"first")


async def test_write_where_nothing_stands_any_more_makes_nothing(bench: RunBench) -> None:
    """Who expects a version of a place that is gone does not make it anew."""
    assert await bench.store.swap(idle(expected="v0")) == Astray("run_1", None)
    assert await bench.store.read("run_1") is None


async def test_conflict_tells_who_owns_the_place(bench: RunBench) -> None:
    """What stands comes with its owner, in a conflict as in a reading."""
    first = a_put(owner="a", then="keep", in_ms=LONG_MS)
    await put(bench.store, first)
    met = await bench.peer.swap(a_put())
    assert met == Astray("run_1", Standing("run_1", first.version, b"record", "a"))


@pytest.mark.fault(36, 37)
async def test_swap_sent_twice_has_the_effect_of_one(bench: RunBench) -> None:
    """A swap whose answer was lost is sent again with its versions: written, and owner and due time stay."""
    first = a_put(owner="a", then="keep", in_ms=LONG_MS)
    assert await bench.store.swap(first) == Written()
    await bench.store.hurry("run_1")
    assert await bench.store.swap(first) == Written()
    second = a_put(expected=first.version, owner="a", then="release", in_ms=LONG_MS)
    assert await bench.store.swap(second) == Written()
    assert await taken(bench.store, "b") == ["run_1"], "the nudge was not forgotten"
    assert await bench.store.swap(second) == Written()
    assert (await there(bench.store)).owner == "b"


async def test_swap_sent_again_after_another_write_is_a_latecomer(bench: RunBench) -> None:
    """Once somebody wrote after it, a swap sent again gets that, and changes nothing."""
    first = idle()
    later = idle(expected=first.version, record=b"later")
    await put(bench.store, first)
    await put(bench.store, later)
    assert await bench.store.swap(first) == Astray("run_1", Standing("run_1", later.version, b"later"))
    assert (await there(bench.store)).version == later.version


async def test_swap_of_several_places_writes_all(bench: RunBench) -> None:
    """A turn and its run begin together, each with its own label and due time."""
    turn = idle("turn_1", label="turn", record=b"turn")
    run = a_put("run_1", label="queued", record=b"run")
    assert await bench.store.swap(turn, run) == Written()
    assert (await there(bench.store, "turn_1")).record == b"turn"
    assert (await there(bench.store, "run_1")).record == b"run"
    assert await bench.store.counts() == {"turn": 1, "queued": 1}
    assert await taken(bench.store) == ["run_1"]
    assert await bench.store.swap(turn, run) == Written()


async def test_swap_of_several_places_of_which_one_is_astray_writes_none(bench: RunBench) -> None:
    """All or nothing: the first that has not the version it expects is named, and no place is touched."""
    standing = idle("run_2", label="old", record=b"old")
    await put(bench.store, standing)
    new = a_put("run_1", label="new")
    met = await bench.store.swap(new, idle("run_2", label="new"), idle("run_3", "v0", label="new"))
    assert met == Astray("run_2", Standing("run_2", standing.version, b"old"))
    assert await bench.store.read("run_1") is None
    assert (await there(bench.store, "run_2")).record == b"old"
    assert await bench.store.counts() == {"old": 1}
    assert await taken(bench.store) == []
    assert keys_of((await bench.store.scan("", "", 10)).places) == ["run_2"]


async def test_several_places_sent_again_after_one_was_rewritten_are_written_still(bench: RunBench) -> None:
    """The swap did take place, whatever came of one of its places since: that one stays as it is."""
    turn, run = idle("turn_1"), idle("run_1")
    await put(bench.store, turn, run)
    later = idle("run_1", run.version, record=b"later")
    await put(bench.store, later)
    assert await bench.store.swap(turn, run) == Written()
    assert (await there(bench.store, "run_1")).version == later.version


async def test_swap_of_nothing_is_written(bench: RunBench) -> None:
    """No places, no conflict."""
    assert await bench.store.swap() == Written()


async def test_swap_that_contradicts_itself_is_refused(bench: RunBench) -> None:
    """One place twice, or an owner who keeps without a name or a time: our own mistake, and nothing is written."""
    for puts in (
        (a_put(), a_put()),
        (a_put("run_2"), a_put(then="keep", in_ms=1)),
        (a_put(then="keep", owner="a"),),
        (a_put(owner="a\x00b"),),
    ):
        with pytest.raises(ValueError):
            await bench.store.swap(*puts)
    assert await bench.store.read("run_1") is None
    assert await bench.store.read("run_2") is None


async def test_hundred_swaps_at_once_write_exactly_one(bench: RunBench) -> None:
    """However many expect the same version at the same time, one replaces it; the others are handed that one."""
    first = idle()
    await put(bench.store, first)
    puts = [a_put(expected=first.version, owner=f"o{i}", then="keep", in_ms=LONG_MS) for i in range(100)]
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].swap(one) for i, one in enumerate(puts)))
    (winner,) = [one for one, answer in zip(puts, answers, strict=True) if answer == Written()]
    lost = Astray("run_1", Standing("run_1", winner.version, b"record", winner.owner))
    assert [answer for answer in answers if answer != Written()] == [lost] * 99


async def test_hundred_swaps_of_two_places_write_both_or_none(bench: RunBench) -> None:
    """However many begin the same two places in either order, both are one's."""
    puts = [(idle("turn_1", record=b"%d" % i), idle("run_1", record=b"%d" % i)) for i in range(100)]
    stores = [bench.store, bench.peer]
    swaps = (stores[i % 2].swap(*(pair if i % 3 else pair[::-1])) for i, pair in enumerate(puts))
    answers = await asyncio.gather(*swaps)
    assert answers.count(Written()) == 1
    assert (await there(bench.store, "turn_1")).record == (await there(bench.store, "run_1")).record


async def test_forgotten_place_is_absent(bench: RunBench) -> None:
    """A place stands for `forget_ms`, then it is as if it had never been, to every call."""
    await put(bench.store, a_put(label="old", forget_ms=SHORT_MS), idle("run_2", label="old"))
    await bench.pass_ms(SHORT_MS + 1)
    assert await bench.store.read("run_1") is None
    assert await bench.store.hurry("run_1") is False
    assert await taken(bench.store) == []
    assert await bench.store.counts() == {"old": 1}
    assert keys_of((await bench.store.scan("old", "", 10)).places) == ["run_2"]
    assert keys_of((await bench.store.scan("", "", 10)).places) == ["run_2"]
    assert await bench.store.swap(idle(expected="v0")) == Astray("run_1", None)
    await put(bench.store, idle(label="new", record=b"anew"))
    assert await bench.store.counts() == {"old": 1, "new": 1}
    assert keys_of((await bench.store.scan("old", "", 10)).places) == ["run_2"]
    assert (await there(bench.store)).record == b"anew"


async def test_place_that_is_rewritten_without_an_end_stays(bench: RunBench) -> None:
    """`forget_ms` is the newest write's business: without one, a place stays, in its listing too."""
    first = a_put(label="done", then="release", forget_ms=WHILE_MS)
    await put(bench.store, first)
    await put(bench.store, idle(expected=first.version, label="done"))
    await bench.pass_ms(WHILE_MS + 1)
    assert (await there(bench.store)).record == b"record"
    assert await bench.store.counts() == {"done": 1}


async def test_place_that_was_forgotten_and_made_anew_is_counted_once(bench: RunBench) -> None:
    """Nothing of the forgotten one takes the new one out of its listing later."""
    await put(bench.store, a_put(label="done", then="release", forget_ms=SHORT_MS))
    await bench.pass_ms(SHORT_MS + 1)
    await put(bench.store, idle(label="done"))
    assert await bench.store.counts() == {"done": 1}
    assert keys_of((await bench.store.scan("done", "", 10)).places) == ["run_1"]
    assert await bench.store.counts() == {"done": 1}


async def test_records_are_bytes_and_keys_are_any_text(bench: RunBench) -> None:
    """Every byte value comes back as it was; no character of a key, label or owner means anything to a store."""
    data = bytes(range(256)) * 3 + b"\x00\xff\r\n$-1\r\n\xc3\x28"
    odd = 'o\'brien/"run" {x}\r\n *?[a] 🎫'
    first = a_put(odd, record=data, label=odd, owner=odd, then="keep", in_ms=LONG_MS)
    await put(bench.store, first, idle("plain", record=b"", label="plain"))
    assert await bench.store.read(odd) == Standing(odd, first.version, data, odd)
    assert (await there(bench.store, "plain")).record == b""
    assert await bench.store.counts() == {odd: 1, "plain": 1}
    assert keys_of((await bench.store.scan(odd, "", 10)).places) == [odd]
    assert await bench.store.renew(odd, [odd, "plain"], LONG_MS) == {odd}


async def test_mebibyte_comes_back_whole(bench: RunBench) -> None:
    """A record with large outputs is stored like a small one."""
    data = bytes(index * 7 % 251 for index in range(4096)) * 256
    await put(bench.store, a_put(record=data))
    assert (await there(bench.store)).record == data
    (place,) = await bench.store.take("a", 1, LONG_MS)
    assert place.record == data


async def test_every_call_is_counted(bench: RunBench) -> None:
    """`operations` grows by one a call, by idle looks too."""
    before = bench.store.operations
    await bench.store.read("run_1")
    await bench.store.take("a", 1, LONG_MS)
    await bench.store.deliveries("a", 1, LONG_MS)
    await put(bench.store, idle(), idle("run_2"))
    assert bench.store.operations == before + 4


async def test_closed_store_is_unavailable(bench: RunBench) -> None:
    """After `close`, every call says so at once; nothing hangs, nothing is taken for absent. Closing twice is fine."""
    store = bench.store
    await put(store, idle())
    await store.close()
    await store.close()
    for call in (
        store.swap(a_put()),
        store.read("run_1"),
        store.take("a", 1, LONG_MS),
        store.renew("a", ["run_1"], LONG_MS),
        store.hurry("run_1"),
        store.scan("", "", 1),
        store.counts(),
        store.hear("w", LONG_MS, "run_1"),
        store.post("e", b"", 1),
        store.deliveries("a", 1, LONG_MS),
        store.done(["e"]),
        store.depth(),
        store.bury("e", "", ""),
        store.letters("", 1),
        store.requeue("e"),
        store.drop("e"),
    ):
        with pytest.raises(StoreUnavailable):
            await call
