"""The audit: one line for each effect, written as it happens. It is the truth about what was done.

An effect is one `write` to a file opened for appending, done before anybody is answered: whatever a caller has heard
of, and whatever happened without a caller hearing of it, is in the file, also if the simulator is killed the moment
after. Any number of processes may read along (`effects_in`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from evaluation.tools.asking import Ask

FIRST_NUMBER = 772_900
"""The audit number that the incident's first attempt was given."""


class BadAudit(ValueError):
    """A file that is no audit, whose last line was torn off, or that others write to; the message says so."""


class Effect(Ask, frozen=True, kw_only=True):
    """One execution: what was asked (see `Ask`), and what came of it.

    audit_id    the tool's own name for the effect, which callers are told as `id`.
    key         the idempotency key that was honoured, empty if none was.
    arrived_at  when the request came, in Unix seconds.
    ts          when the effect took place, in Unix seconds, read as the line is written.
    answered    the status that the request is answered, 0 for a connection that is cut instead.
    faults      what befell the request, as scripts call it.
    """

    audit_id: str
    key: str = ""
    arrived_at: float
    ts: float
    answered: int
    faults: tuple[str, ...] = ()


class Page(Struct, frozen=True):
    """What `GET /_tools/audit` answers. `arrivals` counts requests to act, `in_flight` those that have yet to act or to
    come to nothing, `effects` all there are; `next` is where the following page begins."""

    arrivals: int
    in_flight: int
    effects: int
    next: int
    entries: tuple[Effect, ...]


_decoder = msgspec.json.Decoder(Effect)


def effects_in(path: Path) -> Iterator[Effect]:
    """Yield the effects in a file, in their order; a last line that is still being written is left out.

    Raises `BadAudit` and `OSError`.
    """
    return (effect for _, effect in _lines_in(path))


def _lines_in(path: Path) -> Iterator[tuple[bytes, Effect]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield line, _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise BadAudit(f"{path}:{number}: {error}") from None


class Audit:
    """The effects there were, in memory and, where a file is named, on disk. One that is there already goes on.

    Raises `BadAudit` and `OSError`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lines: list[bytes] = []
        self._by_reference: dict[tuple[str, str], list[int]] = {}
        self._descriptor: int | None = None
        self._numbered = 0
        if path is None:
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with contextlib.ExitStack() as unless_it_is_good:
            unless_it_is_good.callback(os.close, descriptor)
            _lock(descriptor, path)
            self._go_on(path)
            unless_it_is_good.pop_all()
        self._descriptor = descriptor

    def __len__(self) -> int:
        """Return the number of effects."""
        return len(self._lines)

    def next_id(self, prefix: str) -> str:
        """Return the audit id of a request that has come, to be used if it has an effect and never again."""
        self._numbered += 1
        return f"{prefix}_{FIRST_NUMBER + self._numbered - 1}"

    def append(self, effect: Effect) -> None:
        """Write an effect down. Raises `OSError` when the file does not take it whole."""
        line = msgspec.json.encode(effect) + b"\n"
        if self._descriptor is not None and os.write(self._descriptor, line) != len(line):
            raise OSError("the audit took only part of a line")
        self._keep(effect, line)

    def under(self, tool: str, reference: str) -> list[Effect]:
        """Return what a tool did under a reference, which is an operation's id or a key, in order."""
        return [_decoder.decode(self._lines[place]) for place in self._by_reference.get((tool, reference), ())]

    def page(self, since: int, limit: int | None, wanted: Mapping[str, str]) -> tuple[int, list[msgspec.Raw]]:
        """Return the effects from the `since`th on whose fields are as `wanted`, `limit` at most, as they were written,
        and where the next page begins."""
        found: list[msgspec.Raw] = []
        for place in range(since, len(self._lines)):
            if len(found) == limit:
                return place, found
            line = self._lines[place]
            if not wanted or _matches(_decoder.decode(line), wanted):
                found.append(msgspec.Raw(line))
        return max(since, len(self._lines)), found

    def effects(self) -> Iterator[Effect]:
        """Yield all effects, in their order."""
        return map(_decoder.decode, self._lines)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _go_on(self, path: Path) -> None:
        for line, effect in _lines_in(path):
            number = effect.audit_id.rpartition("_")[2]
            self._numbered = max(self._numbered, int(number) - FIRST_NUMBER + 1 if number.isdecimal() else 0)
            self._keep(effect, line)
        if sum(map(len, self._lines)) != path.stat().st_size:
            raise BadAudit(f"{path}: its last line was torn off, so the effect that it told of is not known")

    def _keep(self, effect: Effect, line: bytes) -> None:
        for reference in {effect.operation, effect.key} - {""}:
            self._by_reference.setdefault((effect.tool, reference), []).append(len(self._lines))
        self._lines.append(line)


def _lock(descriptor: int, path: Path) -> None:
    """Keep other tools from giving the same numbers: the lock ends with the process, however that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadAudit(f"{path}: other tools are writing to it") from None


def _matches(effect: Effect, wanted: Mapping[str, str]) -> bool:
    return all(str(getattr(effect, name)) == value for name, value in wanted.items())
