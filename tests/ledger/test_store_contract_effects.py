"""What every store must do about effect keys: each held by one operation at a time, in the same step as a write."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from ledger.key import Ref
from ledger.store import EffectWrite, Held, Hold, Present, Write, Written
from tests.ledger.store_bench import StoreBench, a_ref, a_write, put, there

KEY = "refund 7"
CLAIM, KEEP, DROP = EffectWrite(KEY, "claim"), EffectWrite(KEY, "keep"), EffectWrite(KEY, "drop")
ONE, OTHER = a_ref("op_1"), a_ref("op_2")


def window(ms: int) -> EffectWrite:
    """Return what a success does to its effect key."""
    return EffectWrite(KEY, "window", window_ms=ms)


def claim(effect: EffectWrite = CLAIM) -> Write:
    """Return a claim of the effect key."""
    return a_write(effect=effect)


async def holder(bench: StoreBench) -> str | None:
    """Return who holds the effect key, as a claim that is given up at once would meet it."""
    probe, write = a_ref("op_probe"), claim()
    met = await bench.store.swap(probe, None, write)
    if isinstance(met, Held):
        return met.operation
    assert met == Written()
    assert await bench.store.swap(probe, write.version, a_write("free", effect=DROP, forget_ms=1)) == Written()
    await bench.pass_ms(5)
    return None


async def test_claim_of_a_free_effect_holds_it(bench: StoreBench) -> None:
    """The first to claim a key and its effect has both."""
    assert await bench.store.swap(ONE, None, claim()) == Written()
    assert await holder(bench) == "op_1"


async def test_claim_of_anothers_effect_is_held_and_writes_nothing(bench: StoreBench) -> None:
    """Both or neither: its own place stays absent, and what stands at the holder's is handed over."""
    first = claim()
    await put(bench.store, ONE, first)
    met = await bench.peer.swap(OTHER, None, claim())
    assert isinstance(met, Held)
    assert met.operation == "op_1"
    assert met.present is not None
    assert (met.present.version, met.present.record) == (first.version, first.record)
    assert met.present.lease_left_ms is not None
    assert await bench.store.read(OTHER) is None
    assert await bench.store.unknowns() == []
    assert [place.ref for place in (await bench.store.scan(None, "", 10)).places] == [ONE]


async def test_held_claim_leaves_a_free_place_as_it_stands(bench: StoreBench) -> None:
    """A free record that would be claimed again is untouched, and no watcher is told."""
    told: list[str] = []
    free = a_write("free", record=b"free", forget_ms=60_000)
    await put(bench.store, OTHER, free)
    await put(bench.store, ONE, claim())
    bench.store.listen(told.append)
    await bench.store.watch(OTHER)
    assert isinstance(await bench.peer.swap(OTHER, free.version, claim()), Held)
    assert (await there(bench.store, OTHER)).version == free.version
    await asyncio.sleep(0)
    assert told == []


async def test_holders_result_comes_with_the_refusal(bench: StoreBench) -> None:
    """One round trip is enough to answer with the holder's result."""
    done = a_write("completed", record=b"done", result=b"201", result_ms=60_000, effect=window(60_000))
    await put(bench.store, ONE, claim(), done)
    assert await bench.store.swap(OTHER, None, claim()) == Held("op_1", Present(done.version, b"done", b"201", None))


async def test_holder_that_is_forgotten_holds_on_for_its_window(bench: StoreBench) -> None:
    """An effect is held by an operation's name; what stands there may be gone before."""
    await put(bench.store, ONE, claim(), a_write("completed", forget_ms=5, effect=window(60_000)))
    await bench.pass_ms(10)
    assert await bench.store.swap(OTHER, None, claim()) == Held("op_1", None)


async def test_own_effect_can_be_claimed_again(bench: StoreBench) -> None:
    """A resend claims over its own unknown; an operation does not stand in its own way."""
    await put(bench.store, ONE, claim(), a_write("unknown", effect=KEEP), claim())
    assert await holder(bench) == "op_1"


async def test_claim_takes_away_the_end_of_an_own_window(bench: StoreBench) -> None:
    """Who claims holds without end, whatever was left of an earlier window."""
    await put(bench.store, ONE, claim(), a_write("completed", effect=window(20)), claim())
    await bench.pass_ms(30)
    assert await holder(bench) == "op_1"


async def test_claim_over_a_holder_that_was_seen_takes_its_effect(bench: StoreBench) -> None:
    """`over` names whose hold may be taken; what that one writes later leaves the new hold alone."""
    first = claim()
    await put(bench.store, ONE, first)
    assert await bench.store.swap(OTHER, None, claim(replace(CLAIM, over="op_1"))) == Written()
    assert await holder(bench) == "op_2"
    for effect in (KEEP, window(60_000), DROP):
        await put(bench.store, ONE, a_write("unknown", effect=effect))
        assert await holder(bench) == "op_2"


async def test_claim_over_another_than_the_holder_is_held(bench: StoreBench) -> None:
    """Whoever holds it by now was not seen to be done."""
    await put(bench.store, ONE, claim())
    met = await bench.store.swap(OTHER, None, claim(replace(CLAIM, over="op_3")))
    assert isinstance(met, Held)
    assert met.operation == "op_1"


async def test_window_that_is_over_leaves_the_effect_free(bench: StoreBench) -> None:
    """A success holds its effect for the window, by the store's clock, and no longer."""
    await put(bench.store, ONE, claim(), a_write("completed", effect=window(300)))
    assert isinstance(await bench.store.swap(OTHER, None, claim()), Held)
    await bench.pass_ms(310)
    assert await bench.store.swap(OTHER, None, claim()) == Written()


async def test_window_of_no_time_frees_the_effect_at_once(bench: StoreBench) -> None:
    """Zero milliseconds is no error."""
    await put(bench.store, ONE, claim(), a_write("completed", effect=window(0)))
    assert await holder(bench) is None


async def test_kept_effect_is_held_without_end(bench: StoreBench) -> None:
    """An unknown outcome holds its effect for as long as it is unknown."""
    await put(bench.store, ONE, claim(), a_write("completed", effect=window(20)), a_write("unknown", effect=KEEP))
    await bench.pass_ms(40)
    assert await holder(bench) == "op_1"


async def test_dropped_effect_is_free(bench: StoreBench) -> None:
    """What provably did not run holds nothing."""
    await put(bench.store, ONE, claim(), a_write("free", effect=DROP))
    assert await holder(bench) is None


@pytest.mark.parametrize(("effect", "held_by"), [(KEEP, "op_1"), (window(60_000), "op_1"), (DROP, None)])
async def test_write_takes_up_an_effect_that_nobody_holds(
    bench: StoreBench, effect: EffectWrite, held_by: str | None
) -> None:
    """A late success holds its effect although it had let it go; a drop of nothing is nothing."""
    await put(bench.store, ONE, a_write(), a_write("completed", effect=effect))
    assert await holder(bench) == held_by


@pytest.mark.parametrize("hold", ["keep", "window", "drop"])
async def test_write_beside_anothers_hold_takes_place_and_leaves_it(bench: StoreBench, hold: Hold) -> None:
    """Settling is never prevented by an effect key, and never takes one."""
    await put(bench.store, ONE, claim())
    await put(bench.store, OTHER, a_write(), a_write("completed", effect=EffectWrite(KEY, hold, window_ms=60_000)))
    assert await holder(bench) == "op_1"


async def test_write_without_an_effect_leaves_holds_alone(bench: StoreBench) -> None:
    """No word about an effect key changes none."""
    await put(bench.store, ONE, claim(), a_write("completed"))
    assert await holder(bench) == "op_1"


async def test_stale_version_is_told_before_the_effect_key_is(bench: StoreBench) -> None:
    """Where versions do not agree, what stands at the own place is the answer, and no effect key changes."""
    await put(bench.store, ONE, claim())
    mine = a_write("completed", record=b"mine")
    await put(bench.store, OTHER, a_write(), mine)
    for effect in (CLAIM, replace(CLAIM, over="op_1"), KEEP, window(5), DROP):
        assert await bench.store.swap(OTHER, None, a_write(effect=effect)) == Present(mine.version, b"mine", None, None)
        assert await bench.store.swap(a_ref("op_3"), "v0", a_write(effect=effect)) is None
    assert await holder(bench) == "op_1"


async def test_stale_swap_does_not_let_go_of_an_own_effect(bench: StoreBench) -> None:
    """A write that did not take place did not drop, shorten or lengthen anything."""
    await put(bench.store, ONE, claim())
    for effect in (DROP, window(5)):
        assert isinstance(await bench.store.swap(ONE, "v0", a_write("free", effect=effect)), Present)
    await bench.pass_ms(10)
    assert await holder(bench) == "op_1"


@pytest.mark.fault(36)
async def test_claim_with_an_effect_sent_twice_is_written_both_times(bench: StoreBench) -> None:
    """A claim whose answer was lost is asked again with its version: one place, one hold."""
    first = claim()
    assert await bench.store.swap(ONE, None, first) == Written()
    assert await bench.store.swap(ONE, None, first) == Written()
    assert await holder(bench) == "op_1"


@pytest.mark.fault(36)
async def test_claim_sent_again_after_its_effect_went_to_another_is_written_and_takes_nothing(
    bench: StoreBench,
) -> None:
    """It did take place; what became of the effect since is not its to undo."""
    first = claim()
    await put(bench.store, ONE, first)
    assert await bench.store.swap(OTHER, None, claim(replace(CLAIM, over="op_1"))) == Written()
    assert await bench.store.swap(ONE, None, first) == Written()
    assert await holder(bench) == "op_2"


@pytest.mark.fault(37)
async def test_settle_sent_again_after_its_window_holds_nothing_anew(bench: StoreBench) -> None:
    """A repetition has the effect of one: the window ran from the first."""
    begun, done = claim(), a_write("completed", effect=window(20))
    await put(bench.store, ONE, begun, done)
    await bench.pass_ms(30)
    assert await bench.store.swap(ONE, begun.version, done) == Written()
    assert await holder(bench) is None


async def test_effects_are_each_scopes_own(bench: StoreBench) -> None:
    """The same effect key of another tool, or another key of the same one, is another effect."""
    await put(bench.store, ONE, claim())
    assert await bench.store.swap(Ref("acme/send_email", "op_2"), None, claim()) == Written()
    assert await bench.store.swap(OTHER, None, claim(EffectWrite("refund 8", "claim"))) == Written()


@pytest.mark.parametrize("key", ["a'b\"{}:*\r\n", "ünï 🎫", ""], ids=["quotes", "unicode", "empty"])
async def test_no_character_of_an_effect_key_means_anything(bench: StoreBench, key: str) -> None:
    """A key is text, whatever is in it."""
    await put(bench.store, ONE, claim(EffectWrite(key, "claim")))
    assert isinstance(await bench.store.swap(OTHER, None, claim(EffectWrite(key, "claim"))), Held)


async def test_hundred_claims_of_one_effect_at_once_write_exactly_one(bench: StoreBench) -> None:
    """However many keys mean the same effect at the same time, one is claimed; all others are told of that one."""
    stores = [bench.store, bench.peer]
    refs = [a_ref(f"op_{i}") for i in range(100)]
    answers = await asyncio.gather(*(stores[i % 2].swap(ref, None, claim()) for i, ref in enumerate(refs)))
    winners = [ref.operation for ref, answer in zip(refs, answers, strict=True) if answer == Written()]
    assert len(winners) == 1
    assert {answer.operation for answer in answers if isinstance(answer, Held)} == set(winners)
    standing = await asyncio.gather(*(bench.store.read(ref) for ref in refs))
    assert sum(place is not None for place in standing) == 1


async def test_hundred_claims_over_one_holder_at_once_write_exactly_one(bench: StoreBench) -> None:
    """Of all that waited for a holder, one takes its effect: to the others, that one is the holder."""
    await put(bench.store, a_ref("op_done"), claim(), a_write("completed", effect=window(60_000)))
    stores = [bench.store, bench.peer]
    over = replace(CLAIM, over="op_done")
    swaps = [stores[i % 2].swap(a_ref(f"op_{i}"), None, claim(over)) for i in range(100)]
    answers = await asyncio.gather(*swaps)
    assert sum(answer == Written() for answer in answers) == 1
    assert sum(isinstance(answer, Held) for answer in answers) == 99


async def test_hundred_claims_of_one_key_and_effect_at_once_write_exactly_one(bench: StoreBench) -> None:
    """Of retries of one call, all with its effect, one is written; the others meet its place, not its effect."""
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].swap(ONE, None, claim()) for i in range(100)))
    assert sum(answer == Written() for answer in answers) == 1
    assert sum(isinstance(answer, Present) for answer in answers) == 99
