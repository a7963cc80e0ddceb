"""Writes down what a version of Holdfast leaves in its stores, for later versions to be held to.

    PYTHONPATH=CHECKOUT python tests/golden/write.py FOLDER redis://127.0.0.1:PORT/0 ledger-2 runs-1

CHECKOUT is the version that writes: this one, or an earlier one's files; without a fourth name, the ledger alone. The
server at PORT must be empty, and one's own. What comes to be in FOLDER is committed and never written again:
`NAME.db.gz` and `NAME.redis.json`, and beside them `NAME.json`: what has been written, in plain words. A field that the
version does not know is left out, and so is a state. Nothing here imports from `tests`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import redis

from ledger import records, result
from ledger.key import Ref
from ledger.store import Write, Written
from ledger.stores.redis import RedisStore
from ledger.stores.sqlite import SqliteStore

DEADLINE_MS = 20_000
HOUR_MS = 3_600_000
FOREVER_MS = 100 * 365 * 24 * HOUR_MS
"""What is forgotten after a time shall not be while there is a test of it."""
NOW_MS = 1_700_000_000_000
SCOPE = "acme/create_ticket"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REPLY: dict[str, Any] = {
    "status": 201, "reason": b"Created", "headers": ((b"Content-Type", b"application/json"), (b"X-Kept", b"yes")),
    "body": b'{"id": "T-17"}',
}  # fmt: skip
CALL = {
    "tenant": "acme", "tool": "create_ticket", "run_id": "run_1", "tool_call_id": "call_1", "thread_id": "thread_1",
    "step_id": "step_1", "user_id": "user_1", "trace": TRACE,
}  # fmt: skip
BASE = {
    "fingerprint": "f" * 64, "created_ms": NOW_MS, "attempt": 2, "tokens": ("token-old", "token-new"),
    "effect": ("e" * 64, 90_000), "plan": ("/tickets?external_ref=op", 2_000), "principal": "p" * 64,
}  # fmt: skip
HISTORY = ((NOW_MS, "claimed", "token-old", ""), (NOW_MS + 5, "replied", "token-new", "Grüß Gott: 201 final"))
PLACES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "op_in_flight": ("InFlight", "in_flight", {"resent": True}),
    "op_unknown": (
        "Unknown", "unknown", {"since_ms": NOW_MS, "why": "status", "detail": "the tool answered 500", "status": 500}
    ),
    "op_listening": ("Unknown", "unknown", {"since_ms": NOW_MS, "why": "timeout", "listening": True, "resent": True}),
    "op_probing": ("Unknown", "unknown", {"since_ms": NOW_MS, "why": "lost", "probing": (1, 2_000, 5_000)}),
    "op_completed": (
        "Completed", "completed",
        {"completed_ms": NOW_MS, "status": 201, "digest": "d" * 64, "late": True, "resent": True, "audit_id": "T-17",
         "head": ((b"Content-Length", b"14"), (b"Content-Type", b"application/json"))},
    ),
    "op_tombstone": (
        "Completed", "completed",
        {"completed_ms": NOW_MS, "status": 200, "digest": "d" * 64, "failed": True, "unkept": "too-large",
         "source": "probe"},
    ),
    "op_free": (
        "Free", "free",
        {"since_ms": NOW_MS, "why": "not-sent", "detail": "connect: refused", "status": 503, "timed_out": True},
    ),
    "op_alias": ("Alias", "alias", {"of": "op_completed", "since_ms": NOW_MS}),
}  # fmt: skip
"""A record for each state, and of some more than one: the class, the phase, and what the class has of its own."""
TIMES = {
    "in_flight": {"lease_ms": 15_000}, "unknown": {}, "completed": {"forget_ms": FOREVER_MS},
    "free": {"forget_ms": FOREVER_MS}, "alias": {"forget_ms": FOREVER_MS},
}  # fmt: skip
HOLDS = {
    "op_in_flight": "claim", "op_unknown": "keep", "op_completed": "window", "op_tombstone": "drop", "op_free": "drop",
    "op_alias": "drop",
}  # fmt: skip
"""What each does to its effect key; the others have none."""


def known(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Return those of `fields` that this version's `kind` has."""
    return {name: value for name, value in fields.items() if name in kind.__struct_fields__}  # type: ignore[attr-defined]


def a_record(operation: str) -> Any:
    """Return the record of a place, as far as this version knows such a thing; None for a state that it does not."""
    kind = getattr(records, PLACES[operation][0], None)
    if kind is None:
        return None
    fields = {
        **BASE,
        **PLACES[operation][2],
        "operation": operation,
        "call": known(records.Call, CALL),
        "history": HISTORY,
    }
    effect = fields["effect"] if operation in HOLDS else None
    plain = known(kind, {**fields, "effect": effect and (f"{operation}{effect[0]}"[:64], effect[1])})
    return msgspec.convert({**plain, "state": kind.__struct_config__.tag}, kind)


def writes() -> Iterator[tuple[Ref, Write]]:
    """Yield each place of the ledger, and what is written there."""
    for operation, (_, phase, _) in PLACES.items():
        record = a_record(operation)
        if record is None:
            continue
        kept = {}
        if operation in {"op_completed", "op_unknown"}:
            kept = {"result": result.encode(result.Result(**REPLY)), "result_ms": FOREVER_MS}
        lease = {"lease_ms": 15_000} if operation in {"op_listening", "op_probing"} else {}
        if "effect" in Write.__struct_fields__ and record.effect is not None:
            from ledger.store import EffectWrite

            hold, window_ms = HOLDS[operation], record.effect.window_ms
            kept["effect"] = EffectWrite(record.effect.key, hold, window_ms if hold == "window" else 0)  # type: ignore[arg-type]
        yield (
            Ref(SCOPE, operation),
            Write(f"version-of-{operation}", records.encode(record), phase, **TIMES[phase], **lease, **kept),  # type: ignore[arg-type]
        )


async def write_ledger(store: Any) -> dict[str, Any]:
    """Fill a ledger, and return what is in it."""
    await store.start()
    try:
        for ref, write in writes():
            written = await store.swap(ref, None, write)
            assert isinstance(written, Written), (ref, written)
    finally:
        await store.close()
    return {ref.operation: msgspec.msgpack.decode(write.record) for ref, write in writes()}


async def write_runs(store: Any) -> dict[str, Any]:
    """Fill a coordinator's store, and return what is in it."""
    from coordinator.records import encode
    from coordinator.store import Put
    from coordinator.store import Written as WrittenRun

    from_sources = runs()
    await store.start()
    try:
        for key, (record, label) in from_sources.items():
            put = Put(key, None, f"version-of-{key}", encode(record), label, "owner-1", "release", 0)
            assert isinstance(await store.swap(put), WrittenRun), key
        for entry_id in ("letter-1", "entry-1"):
            assert await store.post(entry_id, msgspec.json.encode(ENTRY), 10)
        await store.deliveries("owner-1", 1, HOUR_MS)
        await store.bury("letter-1", "unknown-run", "run run_9 is not tracked any more")
        assert await store.hear("msg_1", FOREVER_MS, "run:assistants:run_1")
    finally:
        await store.close()
    return {key: msgspec.msgpack.decode(encode(record)) for key, (record, _) in from_sources.items()}


ENTRY = {
    "backend": "assistants", "thread_id": "thread_1", "run_id": "run_9", "tool_call_id": "call_9",
    "output": '{"id": 9}', "at_ms": NOW_MS, "step_id": "step_9",
}  # fmt: skip


def runs() -> dict[str, tuple[Any, str]]:
    """Return a run and a turn with everything that this version knows of them, each with its label."""
    from coordinator.records import Run, Turn

    given = {
        "output": '{"id": 1}', "digest": "d" * 64, "source": "tool", "outcome": "executed", "at_ms": NOW_MS,
        "operation": "op_1",
    }  # fmt: skip
    calls = [
        {"tool_call_id": "call_1", "tool": "create_ticket", "arguments": "a" * 64, "write": True,
         "deadline_ms": NOW_MS, "asked_as": "call_0", "given": given},
        {"tool_call_id": "call_2", "tool": "send_email", "arguments": "b" * 64, "write": True,
         "deadline_ms": NOW_MS, "stray": True, "given": {**given, "output": None, "source": "error"}},
    ]  # fmt: skip
    attempt = {"number": 1, "token": "token-1", "at_ms": NOW_MS, "end": "refused", "detail": "400: no"}
    steps = [
        {"step_id": f"step_{number}", "calls": calls, "since_ms": NOW_MS, "state": state, "attempts": [attempt]}
        for number, state in enumerate(("submitted", "superseded", "submitting", "open"))
    ]
    whose = {"tenant": "acme", "user": "user_1", "thread_id": "thread_1", "created_ms": NOW_MS, "trace": TRACE}
    run = {
        "backend": "assistants", "run_id": "run_1", "turn": "turn_1", "status": "requires_action", "looked_ms": NOW_MS,
        "expires_ms": NOW_MS + 600_000, "ended_ms": NOW_MS, "why": "for no reason", "steps": steps,
        "history": [(NOW_MS, "asked", "call_1", "Grüß Gott")],
    }  # fmt: skip
    turn = {
        "client_turn_id": "turn_1", "asked": "a" * 64, "backend": "assistants", "assistant_id": "asst_1",
        "message": "Grüß Gott", "message_id": "msg_1", "run_id": "run_1", "refused": "not today",
    }  # fmt: skip
    return {
        "run:assistants:run_1": (msgspec.convert(known(Run, {**run, **whose}), Run), "requires_action"),
        "turn:turn_1": (msgspec.convert(known(Turn, {**turn, **whose}), Turn), ""),
    }


def dumped(client: Any) -> list[dict[str, Any]]:
    """Return every key of a server, as any server could be given it again."""
    told = []
    for key in sorted(client.keys()):
        kind = client.type(key).decode()
        one = {"key": key, "type": kind, "expires": client.pttl(key) > 0}
        match kind:
            case "string":
                one["value"] = client.get(key)
            case "hash":
                one["value"] = sorted(client.hgetall(key).items())
            case "set":
                one["value"] = sorted(client.smembers(key))
            case "zset":
                one["value"] = client.zrange(key, 0, -1, withscores=True)
            case "stream":
                one["groups"] = [group["name"] for group in client.xinfo_groups(key)]
                one["value"] = [[entry, [*fields.items()]] for entry, fields in client.xrange(key)]
            case _:
                raise AssertionError(f"{key} is a {kind}")
        told.append(one)
    return told


def texts(value: Any) -> Any:
    """Return a value with bytes as Latin-1 text, for JSON."""
    match value:
        case bytes():
            return value.decode("latin-1")
        case dict():
            return {texts(name): texts(one) for name, one in value.items()}
        case list() | tuple():
            return [texts(one) for one in value]
        case _:
            return value


def keep(folder: Path, name: str, told: dict[str, Any], file: Path, client: Any) -> None:
    """Put what two stores hold into `folder`."""
    (folder / f"{name}.db.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    (folder / f"{name}.redis.json").write_text(json.dumps(texts(dumped(client)), indent=1) + "\n")
    (folder / f"{name}.json").write_text(json.dumps(texts(told), indent=1) + "\n")
    client.flushall()
    for one in file.parent.glob(f"{file.name}*"):
        one.unlink()


def main(folder: Path, url: str, ledger: str, runs: str = "") -> None:
    """Write a ledger and, where there are such things, runs."""
    client = redis.Redis.from_url(url)
    assert not client.keys(), "the server is not empty"
    file = folder / "written.db"

    def clock() -> int:
        return NOW_MS

    asyncio.run(write_ledger(RedisStore(url, deadline_ms=DEADLINE_MS)))
    told = asyncio.run(write_ledger(SqliteStore(str(file), deadline_ms=DEADLINE_MS, clock=clock)))
    keep(folder, ledger, told, file, client)
    if runs:
        from coordinator.stores.redis import RedisRunStore
        from coordinator.stores.sqlite import SqliteRunStore

        asyncio.run(write_runs(RedisRunStore(url, deadline_ms=DEADLINE_MS)))
        told = asyncio.run(write_runs(SqliteRunStore(str(file), deadline_ms=DEADLINE_MS, clock=clock)))
        keep(folder, runs, told, file, client)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), *sys.argv[2:])
