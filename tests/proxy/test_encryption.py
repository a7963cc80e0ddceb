"""Results encrypted at rest, end to end: what the store sees, changes of keys, and results that cannot be opened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from ledger.sealing import Sealing, is_sealed
from ledger.store import Write
from ledger.stores.memory import MemoryStore
from tests.proxy import processes
from tests.proxy.callers import ask, call
from tests.proxy.house import policy, policy_folder
from tests.proxy.scripted import Answers
from tests.proxy.seen import whole
from tests.proxy.tools import Tool, says
from tests.proxy.virtual import in_virtual_time
from tests.proxy.world import POLICY, Process, World, arrival, clock_ms, told, world

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
UNAVAILABLE = (409, "result-unavailable", "refused")
SECRET = b'{"iban": "DE00 1234"}'


def given(process: Process, *keys: bytes) -> Process:
    """Give a process keys; without any it has none."""
    process.works.books._sealing = Sealing(keys) if keys else None
    return process


async def stored(story: World, call: str = "call_1") -> bytes:
    """Return a call's result as the store has it."""
    present = await story.store.read(arrival(call).ref)
    assert present is not None
    assert present.result is not None
    return present.result


async def put(story: World, call: str, result: bytes) -> None:
    """Put other bytes in a result's place."""
    ref = arrival(call).ref
    present = await story.store.read(ref)
    assert present is not None
    write = Write("forged-" + call, present.record, "completed", result=result, result_ms=600_000, forget_ms=900_000)
    await story.store.swap(ref, present.version, write)


@in_virtual_time
async def test_store_holds_no_readable_result() -> None:
    """And every replica with the key replays it to the byte."""
    async with world(MemoryStore(clock_ms)) as story:
        given(story.a, OLD)
        given(story.b, OLD)
        story.tool.will(Answers(body=SECRET))
        await story.a.answer()
        assert is_sealed(await stored(story))
        assert b"DE00" not in await stored(story)
        replayed = await story.b.answer()
        assert (told(replayed), replayed.body) == ((200, "", "replayed"), SECRET)


@in_virtual_time
async def test_keys_are_changed_without_losing_a_result() -> None:
    """Plain results from before, results under the old key, results under the new one: all are replayed."""
    async with world(MemoryStore(clock_ms)) as story:
        for number, keys in enumerate([(), (OLD,), (NEW, OLD)]):
            given(story.a, *keys)
            await story.a.answer(arrival(f"call_{number}"))
        assert [is_sealed(await stored(story, f"call_{number}")) for number in range(3)] == [False, True, True]
        given(story.b, NEW, OLD)
        for number in range(3):
            assert told(await story.b.answer(arrival(f"call_{number}"))) == (200, "", "replayed")
        assert story.tool.executed == 3


@pytest.mark.parametrize("keys", [(), (NEW,)])
@in_virtual_time
async def test_result_without_its_key_is_unavailable_until_the_key_is_back(keys: tuple[bytes, ...]) -> None:
    """It ran and is not run again; what is known is told, and the log says which key is missing."""
    async with world(MemoryStore(clock_ms)) as story:
        given(story.a, OLD)
        given(story.b, *keys)
        await story.a.answer()
        before = await stored(story)
        refused = await story.b.answer()
        assert told(refused) == UNAVAILABLE
        assert json.loads(refused.body)["result"]["status"] == 200
        (line,) = story.b.events("result.sealed")
        assert line["level"] == "error"
        assert "key" in line["detail"]
        assert await stored(story) == before
        assert told(await given(story.b, NEW, OLD).answer()) == (200, "", "replayed")
        assert story.tool.executed == 1


@pytest.mark.fault(47)
@in_virtual_time
async def test_result_that_was_tampered_with_is_unavailable_and_nothing_runs() -> None:
    """Changed in a bit, or another call's put in its place: nobody gets garbage, or what is another's (I3)."""
    async with world(MemoryStore(clock_ms)) as story:
        for process in (story.a, story.b):
            given(process, OLD)
        await story.a.answer(arrival("call_1"))
        await story.a.answer(arrival("call_2"))
        one, two = await stored(story, "call_1"), await stored(story, "call_2")
        await put(story, "call_1", two)
        await put(story, "call_2", two[:-1] + bytes([two[-1] ^ 1]))
        for call in ("call_1", "call_2"):
            assert told(await story.b.answer(arrival(call))) == UNAVAILABLE
        await put(story, "call_1", one)
        assert story.tool.executed == 2


@in_virtual_time
async def test_shared_reply_that_settles_nothing_is_sealed_as_well() -> None:
    """A 429 that joiners elsewhere are told of is a reply like any other."""
    async with world(MemoryStore(clock_ms)) as story:
        for process in (story.a, story.b):
            given(process, OLD)
        story.tool.will(Answers(429, after_s=1, body=SECRET))
        first = story.a.ask()
        joined = await story.b.answer()
        assert (told(joined), joined.body) == ((429, "", "not-executed"), SECRET)
        assert is_sealed(await stored(story))
        assert (await first).body == SECRET


@in_virtual_time
async def test_conflict_beside_a_result_that_cannot_be_opened_leaves_it_as_it_is() -> None:
    """What somebody without the key writes to the history carries the sealed result along, unread."""
    async with world(MemoryStore(clock_ms)) as story:
        given(story.a, OLD)
        await story.a.answer()
        before = await stored(story)
        standing = await given(story.b).works.books.read(arrival().ref)
        assert standing is not None
        assert standing.result is None
        noted = replace(standing.record, history=())
        await story.b.works.books.swap(
            "settle", arrival().ref, standing.version, noted, POLICY.result, stored=standing.stored
        )
        assert await stored(story) == before


def test_key_files_are_read_at_start(tmp_path: Path, tool: Tool) -> None:
    """A process with a key keeps its results sealed on disk, and the next one, with a newer key as well, reads them."""
    for name, key in (("old", OLD), ("new", NEW)):
        (tmp_path / name).write_text(key.hex() + "\n")
    folder = policy_folder(tmp_path / "policies", policy("act"))
    store = processes.sqlite_url(tmp_path)
    data = call("r", script=tool.script(says(whole(b"200 OK", SECRET))))
    old, new = (("--encryption-key-file", str(tmp_path / name)) for name in ("old", "new"))
    with processes.proxy(tmp_path / "1", folder, tool.url, store, *old) as proxy:
        assert ask(proxy.port, data).body == SECRET
    assert not [path for path in tmp_path.rglob("*.db*") if b"DE00" in path.read_bytes()]
    with processes.proxy(tmp_path / "2", folder, tool.url, store, *new, *old) as proxy:
        assert (ask(proxy.port, data).outcome, ask(proxy.port, data).body) == ("replayed", SECRET)
    with processes.proxy(tmp_path / "3", folder, tool.url, store, *new) as proxy:
        assert ask(proxy.port, data).said == (409, "refused", "result-unavailable")
    assert len(tool.executions("r")) == 1
