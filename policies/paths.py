"""Paths as policies name them and as requests spell them, brought to one spelling before they are compared.

`/tools/create%5Fticket` and `/tools/x/../create_ticket` ask for the same tool as `/tools/create_ticket` (RFC 3986,
6.2.2): whoever spells it differently must not slip past its policy. The normal form is for matching only; the tool gets
the target byte for byte. Slashes are not merged and a trailing slash counts: RFC 3986 takes those for other resources,
and so may the tool. What does not match is still guarded, as a write that no policy names.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

SEGMENTS_MAX: Final = 32
PATH_LENGTH_MAX: Final = 512
UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
"""A percent sign alone: `%2%35F` becomes an escape for whoever decodes twice."""

_SIMPLE = re.compile(r"(/[A-Za-z0-9_~:@!$&'()*+,;=-][A-Za-z0-9._~:@!$&'()*+,;=-]*)+/?|/")
"""Already normal: no escapes, no segment that starts with a dot, no empty segment but the last."""

_AMBIGUOUS = re.compile(r"//|\\|%2F|%5C|\.;")
"""Where servers disagree on what a segment is: they merge slashes, decode `%2F` early, take a backslash for one, or cut
a segment at its semicolon."""

_SEGMENT_ENDS = re.compile(r"/|\\|%2F|%5C")

LITERAL: Final = 0
ANY_ONE: Final = 1
ANY_REST: Final = 2


def normal_path(path: str) -> str | None:
    """Return the path in normal form, or None if two servers could read it as two different paths.

    Unreserved characters are decoded, other escapes upper-cased, raw non-ASCII octets escaped, dot segments resolved
    (RFC 3986, 5.2.4). None for dot segments beside doubled, escaped or backward slashes or semicolons: whether
    `/a/..%2Fb` is below `/a` depends on who reads it, so that it must match nothing rather than the wrong policy. The
    same for a percent sign that begins no escape. Also None for what is not an absolute path (`*`).
    """
    if _SIMPLE.fullmatch(path):
        return path
    if not path.startswith("/") or _NO_ESCAPE.search(path):
        return None
    spelled = _ESCAPE.sub(_respell, path)
    if not spelled.isascii():
        spelled = "".join(letter if letter.isascii() else _escaped(letter) for letter in spelled)
    if not _has_dots(spelled):
        return spelled
    return None if _AMBIGUOUS.search(spelled) else _without_dots(spelled)


def _respell(escape: re.Match[str]) -> str:
    letter = chr(int(escape[1], 16))
    return letter if letter in UNRESERVED else escape[0].upper()


def _escaped(letter: str) -> str:
    errors = "surrogateescape" if "\udc80" <= letter <= "\udcff" else "surrogatepass"
    return "".join(f"%{octet:02X}" for octet in letter.encode("utf-8", errors))


def _has_dots(path: str) -> bool:
    """Say whether any reading of `path` has a `.` or `..` segment."""
    return any(segment.partition(";")[0] in {".", ".."} for segment in _SEGMENT_ENDS.split(path))


def _without_dots(path: str) -> str:
    """Resolve dot segments; `..` at the root stays at the root, a last dot segment leaves its slash."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


class Pattern(Struct, frozen=True):
    """A policy's path, split. A None segment is `*`; `rest` is a final `**`.

    `rank` orders patterns from the most specific to the least: segment by segment from the left, a literal before `*`
    before `**`. Two patterns that match one path and have equal ranks are equal, so that comparing them shows a tie.
    """

    segments: tuple[str | None, ...]
    rest: bool

    @property
    def rank(self) -> tuple[int, ...]:
        """The smaller, the more specific."""
        kinds = tuple(LITERAL if segment is not None else ANY_ONE for segment in self.segments)
        return (*kinds, ANY_REST) if self.rest else kinds

    @property
    def literal(self) -> str | None:
        """The one path that this matches, if it is only one."""
        if self.rest or None in self.segments:
            return None
        return "/" + "/".join(segment or "" for segment in self.segments)

    def matches(self, segments: list[str]) -> bool:
        """Say whether a normal path, split at its slashes, is meant. `*` needs something to match; `**` does not."""
        if len(segments) != len(self.segments) and not (self.rest and len(segments) > len(self.segments)):
            return False
        pairs = zip(self.segments, segments, strict=False)
        return all(mine == theirs if mine is not None else theirs != "" for mine, theirs in pairs)


def parse_pattern(text: str) -> Pattern:
    """Read a policy's `match.path`. Raises `ValueError` for what could never match, or not as its author thinks."""
    if not text.startswith("/"):
        raise ValueError("a path starts with /")
    if len(text) > PATH_LENGTH_MAX or text.count("/") > SEGMENTS_MAX:
        raise ValueError(f"longer than {PATH_LENGTH_MAX} characters or {SEGMENTS_MAX} segments")
    if found := re.search(r"[?#\\\s\x00-\x1f\x7f]|%(?![0-9A-Fa-f]{2})|%2[Ff]|%5[Cc]", text):
        raise ValueError(f"{found[0]!r} has no place in a path that is matched")
    if "//" in text or _has_dots(_ESCAPE.sub(_respell, text)):
        raise ValueError("an empty or a dot segment in a path that is matched")
    rest = text.endswith("/**")
    segments = (normal_path(text) or "").split("/")[1:]
    if rest:
        del segments[-1]
    if any("*" in segment and segment != "*" for segment in segments):
        raise ValueError("* stands for one whole segment, ** for all the rest at the end")
    return Pattern(tuple(None if segment == "*" else segment for segment in segments), rest)
