"""What a list of header field names means to us, whatever the values: worked out once, since callers repeat it."""

from __future__ import annotations

PLAIN, CONTROL, SECRET, FRAMING, CONTENT_TYPE, HOST, PREFER, TRACE, OURS_PART, IMITATION = range(10)
"""What a request's field is to us. Plain numbers: an enum's member costs a function call each time it is named."""


class Layout:
    """What a list of field names means to us: which field is what. `simple` if all that follows from the names alone
    and takes no more than looking at the values; else each field is taken on its own."""

    __slots__ = ("connection_at", "content_type_at", "controls", "credential_at", "host_at", "names", "onward",
                 "simple", "trace_at")  # fmt: skip

    def __init__(self, names: tuple[bytes, ...], meanings: list[tuple[int, bytes]]) -> None:
        self.names = names
        self.controls: list[tuple[bytes, int]] = []
        self.onward: list[tuple[bytes, int]] = []
        self.connection_at: list[int] = []
        self.content_type_at = self.credential_at = self.trace_at = self.host_at = -1
        once: list[bytes] = []
        for at, (part, name) in enumerate(meanings):
            if part == FRAMING:
                if name == b"connection":
                    self.connection_at.append(at)
                continue
            if part == OURS_PART:
                continue
            if part == CONTROL:
                self.controls.append((name, at))
            elif part == CONTENT_TYPE:
                self.content_type_at = at
            elif part == SECRET:
                self.credential_at = at
            elif part == TRACE:
                self.trace_at = at
            elif part == HOST:
                self.host_at = len(self.onward)
            if part != PLAIN:
                once.append(name)
            self.onward.append((names[at], at))
        odd = {part for part, _ in meanings} & {PREFER, IMITATION}
        self.simple = not odd and len(once) == len(set(once))
