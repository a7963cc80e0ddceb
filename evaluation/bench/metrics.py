"""What the proxy counts of itself, read from its `/metrics`: how often it went to its store, by operation."""

from __future__ import annotations

import re

import aiohttp

_COUNT = re.compile(
    r'^holdfast_store_duration_seconds_count\{(?:[^}]*,)?op="(?P<op>[^"]+)"[^}]*\} (?P<count>\S+)$', re.MULTILINE
)

BACKGROUND = frozenset({"beat", "due", "renew", "unknowns"})
"""Store calls that no request makes: signs of life, the sweep, the count of unknowns, and leases of forwards that take
long."""


def store_calls(exposition: str) -> dict[str, float]:
    """Return the count of store calls by operation; nothing for a proxy that has not called its store yet."""
    calls: dict[str, float] = {}
    for match in _COUNT.finditer(exposition):
        calls[match["op"]] = calls.get(match["op"], 0.0) + float(match["count"])
    return calls


async def read_store_calls(session: aiohttp.ClientSession, health_url: str) -> dict[str, float]:
    """Ask the proxy. Raises `aiohttp.ClientError`."""
    async with session.get(f"{health_url}/metrics", raise_for_status=True) as response:
        return store_calls(await response.text())


def round_trips(before: dict[str, float], after: dict[str, float], requests: int) -> dict[str, float]:
    """Return store calls per request, by operation, of those that requests make."""
    return {
        op: (count - before.get(op, 0.0)) / requests
        for op, count in sorted(after.items())
        if op not in BACKGROUND and count > before.get(op, 0.0)
    }
