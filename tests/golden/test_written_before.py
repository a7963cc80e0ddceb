"""What earlier versions wrote is read by this one, whole; and what this one writes is what the files here hold.

`write.py` made them: `ledger-1` with the version of 21 November 2026 (commit 427fc28, before effect keys, aliases and
probes), `ledger-2` and `runs-1` with that of 26 November (b7c8380), `ledger-2-traced` and `runs-1-traced` with the one
that came to write down traces. A change of what is written down comes with files of its own, beside these.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from coordinator.records import Run, Turn, decode_run, decode_turn
from coordinator.records import encode as encode_run
from coordinator.store import RunStore
from coordinator.stores.redis import RedisRunStore
from coordinator.stores.sqlite import SqliteRunStore
from ledger import records, result
from ledger.key import Ref
from ledger.records import Call, Record
from ledger.store import EffectWrite, Held, Store
from ledger.stores.redis import RedisStore
from ledger.stores.sqlite import SqliteStore
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, there
from tests.redis_server import redis_server

HERE = Path(__file__).parent
DEADLINE_MS = 20_000
LEDGERS = [(name, kind) for name in ("ledger-1", "ledger-2", "ledger-2-traced") for kind in ("sqlite", "redis")]
RUNS = [(name, kind) for name in ("runs-1", "runs-1-traced") for kind in ("sqlite", "redis")]

_spec = importlib.util.spec_from_file_location("golden_write", HERE / "write.py")
assert _spec is not None
assert _spec.loader is not None
write: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write)


def told(name: str) -> dict[str, Any]:
    """Return in plain words what was written."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return found


def holds(found: Any, written: Any) -> bool:
    """Say whether everything that was written is found: a later version may add members and columns, no more."""
    match written:
        case dict():
            return isinstance(found, dict) and all(holds(found.get(name), one) for name, one in written.items())
        case list():
            return isinstance(found, list) and all(map(holds, found, written)) and len(found) >= len(written)
        case _:
            return bool(found == written)


def plain(record: Record | Run | Turn) -> Any:
    """Return a record as `told` tells of one."""
    data = records.encode(record) if isinstance(record, Record) else encode_run(record)
    return write.texts(msgspec.msgpack.decode(data))


def put_back(client: Redis, name: str) -> None:
    """Give a server every key of a file; what was to be forgotten some day is, in an hour."""
    for one in json.loads((HERE / f"{name}.redis.json").read_text()):
        key, value = one["key"], one["value"]
        match one["type"]:
            case "string":
                client.set(key, value.encode("latin-1"))
            case "hash":
                client.hset(key, mapping={field: text.encode("latin-1") for field, text in value})
            case "set":
                client.sadd(key, *value)
            case "zset":
                client.zadd(key, dict(value))
            case "stream":
                for entry, fields in value:
                    client.xadd(key, dict(fields), entry)
                for group in one["groups"]:
                    client.xgroup_create(key, group, "0")
            case other:
                raise AssertionError(f"{key} is a {other}")
        if one.get("expires"):
            client.pexpire(key, 3_600_000)


def lay_out(what: tuple[str, str], folder: Path, port: int) -> Any:
    """Put what was written (the file's name, the kind of store) where a store finds it, and return the store."""
    name, kind = what
    ledger = name.startswith("ledger")
    if kind == "redis":
        with Redis(port=port) as client:
            client.flushall()
            put_back(client, name)
        return (RedisStore if ledger else RedisRunStore)(f"redis://127.0.0.1:{port}", deadline_ms=DEADLINE_MS)
    file = folder / "written.db"
    file.write_bytes(gzip.decompress((HERE / f"{name}.db.gz").read_bytes()))
    return (SqliteStore if ledger else SqliteRunStore)(str(file), deadline_ms=DEADLINE_MS, clock=SteppedClock())


@contextlib.asynccontextmanager
async def started(store: Any) -> AsyncIterator[Any]:
    """Yield a store, started."""
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server of these tests' own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, port: int) -> AsyncIterator[Store]:
    """A store on what was written."""
    async with started(lay_out(request.param, tmp_path, port)) as store:
        yield store


@pytest.fixture
async def run_store(request: pytest.FixtureRequest, tmp_path: Path, port: int) -> AsyncIterator[RunStore]:
    """The same for runs."""
    async with started(lay_out(request.param, tmp_path, port)) as store:
        yield store


@pytest.mark.fault(60)
@pytest.mark.parametrize(("ledger", "name"), [(one, one[0]) for one in LEDGERS], indirect=["ledger"], ids=str)
async def test_every_record_of_an_earlier_version_is_read_whole(ledger: Store, name: str) -> None:
    """Each field that it wrote is found again, and each reply that it kept."""
    written = told(name)
    assert len(written) == (7 if name == "ledger-1" else 8)
    for operation, expected in written.items():
        present = await there(ledger, a_ref(operation))
        assert present.version == f"version-of-{operation}"
        assert holds(plain(records.decode(present.record, operation)), expected), operation
    for operation in ("op_completed", "op_unknown"):
        kept = (await there(ledger, a_ref(operation))).result
        assert kept is not None
        assert result.decode(kept) == result.Result(**write.REPLY)


@pytest.mark.fault(60)
@pytest.mark.parametrize(("ledger", "name"), [(one, one[0]) for one in LEDGERS], indirect=["ledger"], ids=str)
async def test_indexes_of_an_earlier_version_lead_to_its_records(ledger: Store, name: str) -> None:
    """Leases fall due, unknown outcomes are counted and listed, an effect that is held is held."""
    leased = {"op_in_flight", "op_listening", "op_probing"}
    renewed = [await ledger.renew(a_ref(operation), f"version-of-{operation}", 1) for operation in leased]
    assert renewed == [True] * 3
    (unknown,) = await ledger.unknowns()
    assert (unknown.scope, unknown.count) == (write.SCOPE, 3)
    page = await ledger.scan("unknown", "", 10)
    assert {place.ref for place in page.places} == {a_ref("op_unknown"), a_ref("op_listening"), a_ref("op_probing")}
    assert {place.ref.operation for place in (await ledger.scan(None, "", 100)).places} == set(told(name))
    if name != "ledger-1":
        for operation in ("op_in_flight", "op_unknown", "op_completed"):
            effect = records.decode((await there(ledger, a_ref(operation))).record, operation).effect
            assert effect is not None
            claim = a_write(effect=EffectWrite(effect.key, "claim"))
            met = await ledger.swap(Ref(write.SCOPE, f"op_other_{operation}"), None, claim)
            assert isinstance(met, Held)
            assert met.operation == operation


@pytest.mark.fault(60)
@pytest.mark.parametrize(("run_store", "name"), [(one, one[0]) for one in RUNS], indirect=["run_store"], ids=str)
async def test_runs_and_results_of_an_earlier_version_are_read_whole(run_store: RunStore, name: str) -> None:
    """Runs and turns with all that was known of them, what is due, a result that waits, a dead letter, a notification
    that was heard."""
    for key, expected in told(name).items():
        standing = await run_store.read(key)
        assert standing is not None
        decode = decode_run if key.startswith("run:") else decode_turn
        assert holds(plain(decode(standing.record)), expected)
    assert {place.key for place in await run_store.take("owner-2", 10, 1_000)} == set(told(name))
    assert await run_store.counts() == {"requires_action": 1}
    (waiting,) = await run_store.deliveries("owner-2", 10, 1_000)
    assert (waiting.id, json.loads(waiting.entry)) == ("entry-1", write.ENTRY)
    (letter,), _ = await run_store.letters("", 10)
    assert (letter.id, letter.reason, json.loads(letter.entry)) == ("letter-1", "unknown-run", write.ENTRY)
    assert not await run_store.hear("msg_1", 1_000, "run:assistants:run_1")


def bytes_of(name: str) -> dict[str, bytes]:
    """Return the records in a file, as they lie in Redis."""
    found = {}
    for one in json.loads((HERE / f"{name}.redis.json").read_text()):
        if one["type"] == "hash" and "record" in (fields := dict(one["value"])):
            found[fields.get("operation") or fields["key"]] = fields["record"].encode("latin-1")
    return found


def test_this_version_writes_records_as_the_newest_files_hold_them() -> None:
    """To the byte. Who changes that writes new files with `write.py`, beside these, and says in docs/upgrades.md which
    versions may run side by side."""
    assert {ref.operation: entry.record for ref, entry in write.writes()} == bytes_of("ledger-2-traced")
    assert {key: encode_run(record) for key, (record, _) in write.runs().items()} == bytes_of("runs-1-traced")


def test_files_hold_every_state_and_every_field() -> None:
    """What they do not hold would not be missed."""
    ledger_records = [write.a_record(operation) for operation in write.PLACES]
    for kind in Record.__args__:
        have = [record for record in ledger_records if isinstance(record, kind)]
        filled = {name for record in have for name in msgspec.to_builtins(record)} - {"state"}
        assert filled == set(kind.__struct_fields__), kind
        assert {name for record in have for name in msgspec.to_builtins(record.call)} == set(Call.__struct_fields__)
    for record, _ in write.runs().values():
        assert set(msgspec.to_builtins(record)) == set(type(record).__struct_fields__) - {"schema"}
