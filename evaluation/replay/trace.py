"""Turns as JSON lines: recorded by a workload, or brought along by whoever wants theirs replayed.

The first line says what the file is and in which version; each other line is a `Turn`. What cannot be read is refused
with its line and its field: a replay of half a trace would look like one of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from evaluation.replay.lines import LINE_BYTES_MAX, BadLine, decoded
from evaluation.replay.turns import Turn

VERSION = 1


class BadTrace(BadLine):
    """A trace that cannot be used; the message names the file, the line and the field, and says what to do."""


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a trace."""

    holdfast_trace: int


_headers = msgspec.json.Decoder(Header)
_turns = msgspec.json.Decoder(Turn)


def write_trace(path: Path, turns: Iterable[Turn]) -> None:
    """Write turns to a file, in their order. Raises `OSError`."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        file.write(encoder.encode(Header(VERSION)) + b"\n")
        for turn in turns:
            file.write(encoder.encode(turn) + b"\n")


def read_trace(path: Path) -> Iterator[Turn]:
    """Yield the turns of a file, in their order. Raises `BadTrace` and `OSError`.

    A turn's `id` is its own, its time is not before that of the turn above, and what it repeats stands above.
    """
    with path.open("rb") as file:
        _check_header(path, file.readline(LINE_BYTES_MAX))
        seen: dict[str, Turn] = {}
        last = 0.0
        number = 1
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            where = f"{path}:{number}"
            if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
                raise BadTrace(f"{where}: the line is longer than {LINE_BYTES_MAX} bytes: write one turn per line")
            turn = _decoded(where, line)
            _check(where, turn, seen, last)
            seen[turn.id], last = turn, turn.at
            yield turn


def _check_header(path: Path, line: bytes) -> None:
    remedy = f'write {{"holdfast_trace":{VERSION}}} there'
    try:
        header = _headers.decode(line)
    except msgspec.DecodeError:
        raise BadTrace(f"{path}:1: the first line does not say that this is a trace: {remedy}") from None
    if header.holdfast_trace != VERSION:
        told = f"holdfast_trace is {header.holdfast_trace}, which this Holdfast does not know"
        raise BadTrace(f"{path}:1: {told}: record the trace again, or convert it and {remedy}")


def _decoded(where: str, line: bytes) -> Turn:
    try:
        return decoded(where, line, _turns)
    except BadLine as error:
        raise BadTrace(str(error)) from None


def _check(where: str, turn: Turn, seen: dict[str, Turn], last: float) -> None:
    """Refuse what is well-formed and cannot be meant."""
    for field in ("id", "tenant", "user", "thread", "client_turn_id"):
        if not getattr(turn, field):
            raise BadTrace(f"{where}: {field}: is empty: write a name")
    if turn.id in seen:
        raise BadTrace(f"{where}: id: {turn.id!r} is the id of an earlier turn: give each turn its own")
    if not math.isfinite(turn.at) or turn.at < last:
        raise BadTrace(f"{where}: at: {turn.at:g} is before the turn above ({last:g}): sort the lines by `at`")
    if turn.repeat is not None and turn.repeat.of not in seen:
        raise BadTrace(f"{where}: repeat.of: {turn.repeat.of!r} is no earlier turn: name one, or leave out `repeat`")
    _check_steps(where, turn)


def _check_steps(where: str, turn: Turn) -> None:
    nothing_new = turn.repeat is not None and turn.repeat.kind != "meant-again"
    for i, step in enumerate(turn.steps):
        if not step:
            raise BadTrace(f"{where}: steps[{i}]: has no calls: remove the step")
        for j, call in enumerate(step):
            if not call.tool:
                raise BadTrace(f"{where}: steps[{i}][{j}].tool: is empty: write a tool's name")
            if nothing_new and call.effect == "write" and call.meant:
                told = "is true in a turn that is a mere repeat of an earlier one"
                raise BadTrace(f"{where}: steps[{i}][{j}].meant: {told}: write false, or repeat.kind meant-again")
