"""The request that every system gets: one tool call with its identity headers and a body of about 300 bytes."""

from __future__ import annotations

import json

COMPLAINT = (
    "Every export to CSV ends in an error page since about nine. Restarting the browser did not help, and a colleague "
    "sees the same. Please have a look before noon."
)


def _body(subject: str) -> bytes:
    told = {
        "user_id": "usr_1042",
        "subject": subject,
        "body": COMPLAINT,
        "priority": "normal",
        "tags": ["export", "csv"],
    }
    return json.dumps(told).encode()


NUMBER_DIGITS = 8

_BEFORE = b"POST /tools/create_ticket HTTP/1.1\r\nHost: tools.internal\r\nContent-Type: application/json\r\nX-Run-Id: "
_BETWEEN = (
    b"\r\nX-Thread-Id: thd_9c2a\r\nX-Step-Id: stp_12\r\nX-User-Id: usr_1042\r\nContent-Length: %d\r\nX-Tool-Call-Id: "
)

READ = b"GET /tools/search_kb?q=export HTTP/1.1\r\nHost: tools.internal\r\n\r\n"


class Calls:
    """New tool calls of one run, without end. Each has a subject of its own, as calls that mean something else do:
    equal ones would be the same effect."""

    def __init__(self, run: str) -> None:
        before, self._after = _body(f"Export fails in {run} since entry %").split(b"%")
        length = len(before) + NUMBER_DIGITS + len(self._after)
        self._start = _BEFORE + run.encode() + _BETWEEN % length + b"call_"
        self._middle = b"\r\n\r\n" + before
        self._next = 0

    def new(self) -> bytes:
        """Return the request of a call that nobody has made before."""
        self._next += 1
        return b"%b%d%b%08d%b" % (self._start, self._next, self._middle, self._next, self._after)
