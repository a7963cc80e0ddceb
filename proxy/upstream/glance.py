"""Reads the common reply at a glance: its head and the whole of a body of known length came in one segment.

Nearly every tool's replies come so, and for them the state that `ReplyReader` keeps between segments is idle work. A
glance has no opinions of its own: what it takes, `ReplyReader` would have taken and read alike (a test holds the two
against each other), and whatever is uncommon, doubtful or wrong it leaves to that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from msgspec import Struct

from proxy.upstream.head import BadReply, Head, judge
from proxy.upstream.reply import FIELDS_MAX

SECTION_BYTES_MAX = 2048
"""Longer header sections are uncommon."""

SECTIONS_MAX = 256
"""Header sections that are remembered. A busy tool repeats itself to the byte: of what commonly differs, the lengths
are few and the date changes once a second."""

_FINAL = {
    b"HTTP/1.1 %d %b" % (status, reason): (int(status), reason)
    for status in HTTPStatus
    for reason in (status.phrase.encode(), b"")
    if status >= 200
}
"""Status and reason by status line, of the final replies that tools commonly give."""


class _Callbacks(Struct):
    """What a parser finds its callbacks on."""

    on_header: Callable[[bytes, bytes], object]


def glance(data: bytes) -> tuple[Head, bytes] | None:
    """Return head and body of the reply that `data` is, the first bytes to come after a request other than a HEAD.

    Return None unless they are exactly one reply, framed by its Content-Length.
    """
    section, end, body = data.partition(b"\r\n\r\n")
    if not end or not body or len(section) > SECTION_BYTES_MAX:
        return None
    head = _read(section)
    return (head, body) if head is not None and head.length == len(body) else None


@lru_cache(SECTIONS_MAX)
def _read(section: bytes) -> Head | None:
    """Return the final head that `section` is, up to its empty line; None if it is uncommon, or none."""
    lines = section.split(b"\r\n")
    final = _FINAL.get(lines[0])
    if final is None or len(lines) > FIELDS_MAX:
        return None
    fields: dict[bytes, bytes] = {}
    try:
        HttpResponseParser(_Callbacks(fields.setdefault)).feed_data(section + b"\r\n\r\n")
        # As many fields as lines: none was given twice, which a dict would not show, and llhttp has seen the section
        # end where we do, for it tells of a field when the next begins or the section is over.
        if len(fields) != len(lines) - 1:
            return None
        status, reason = final
        return judge(status, reason, "1.1", tuple(fields.items()), bodiless=False)
    except (HttpParserError, HttpParserUpgrade, BadReply):
        return None
