"""Tracing, where one asks for it: spans of OpenTelemetry, sent to a collector. Else nothing of it is imported.

What work needs of tracing is here, and free of the library; `process.spans` stands behind it. Where spans go, what is
sampled and what the service is called is said by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, …), which the library reads itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

Mode = Literal["off", "otlp"]
Value = str | int | bool
Kind = Literal["internal", "server"]

PARENT, STATE = "traceparent", "tracestate"
"""The fields of W3C Trace Context."""
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Span(Protocol):
    """One span under way. `parent` is what goes on to whoever is asked within it (`traceparent`); what is not `sampled`
    is sent nowhere, and says so in there."""

    parent: str
    trace_id: str
    sampled: bool

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes, those that are not empty."""

    def link(self, parent: str, attributes: Mapping[str, Value]) -> None:
        """Point to another span, which `parent` names as it would its own children's."""

    def end(self, error: str = "") -> None:
        """It is over; `error` is its kind, if it failed. Later calls have no effect."""


class Tracing(Protocol):
    """Begins spans, and sees to their leaving without anybody's waiting for it."""

    def begin(
        self, name: str, attributes: Mapping[str, Value], parent: str = "", state: str = "", kind: Kind = "internal"
    ) -> Span:
        """Begin a span below the one that `parent` (and its `tracestate`) names; a trace of its own without one, or
        where that is none."""

    def close(self) -> None:
        """Send what waits, for a bounded time. Blocks: not for the event loop's thread."""


Dropped = Callable[[str, int], None]
"""Told why so many spans were dropped: `full` (the collector is too slow), `not-taken`, `stopped`. From any thread."""
Away = Callable[[str], None]
"""Told once, in words, when the collector begins not to take spans. From another thread."""


def opened(mode: Mode, service: str, dropped: Dropped, away: Away) -> Tracing | None:
    """Return what `--tracing` asks for; None for `off`. Raises `ValueError` where the library is not installed."""
    if mode == "off":
        return None
    require(mode)
    from process.spans import to_collector

    return to_collector(service, dropped, away)


def require(mode: Mode) -> None:
    """Raise `ValueError` if what `--tracing` asks for is not installed."""
    if mode == "off":
        return
    try:
        import process.spans  # noqa: F401  # what is missing is to be said at start
    except ImportError as error:
        raise ValueError(f"tracing needs OpenTelemetry ({error.name}): install holdfast[otel]") from None


def is_parent(text: str) -> bool:
    """Say whether a text is a traceparent that names a span."""
    return _PARENT.fullmatch(text) is not None
