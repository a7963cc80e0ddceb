"""What the three kinds of callers see of one execution: the first, a joiner, and whoever asks later."""

from __future__ import annotations

from dataclasses import dataclass

from tests.proxy.callers import Answer, ask
from tests.proxy.house import House
from tests.proxy.tools import Gate, Script, waits

Said = tuple[int, str, str]

UNKNOWN_FIRST = (502, "unknown", "outcome-unknown")
UNKNOWN_LATER = (409, "unknown", "outcome-unknown")


@dataclass
class Seen:
    """What the three kinds of callers got."""

    first: Answer
    joiner: Answer
    later: Answer

    @property
    def said(self) -> tuple[Said, Said, Said]:
        """Status, outcome and problem of each."""
        return self.first.said, self.joiner.said, self.later.said


def watch(house: House, run: str, script: Script, *, tool: str = "act", method: str = "POST") -> Seen:
    """Call a tool that answers by `script` once both a first caller and a joiner wait, and ask again afterwards."""
    gate = Gate()
    data = house.call(run, tool=tool, method=method, script=waits(gate, script))
    with house.caller() as first, house.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        gate.open()
        answers = first.answer(), joiner.answer()
    return Seen(*answers, ask(house.port, data))


def whole(status: bytes, body: bytes = b"{}", *fields: bytes) -> bytes:
    """Return a reply with a Content-Length."""
    head = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(body)))
    return head + b"\r\n" + body


# -- provably not sent ----------------------------------------------------------------------------------------------


TICKET = b'{"ticket":"only one"}'


def ticket(*fields: bytes) -> bytes:
    """Return the reply of a tool that files one ticket."""
    return (
        b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *fields, b"Content-Length: %d" % len(TICKET)))
        + b"\r\n"
        + TICKET
    )
