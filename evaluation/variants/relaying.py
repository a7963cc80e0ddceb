"""Notifications that came to the wrong region, passed on to the one that started the run: each has a Redis of its own,
and what both handle, nobody deduplicates."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from evaluation.variants.exchange import Exchange, Replied

WITHIN_S = 5.0
PASSED = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")
"""The signature is of the body and the first two, so it is good there as well."""


class Relay:
    """Passes notifications on. `peers` are the URLs of other regions' instances, by region."""

    def __init__(self, peers: Mapping[str, Sequence[str]], exchange: Exchange) -> None:
        self._peers = peers
        self._exchange = exchange

    async def pass_on(self, region: str, fields: Mapping[str, str], body: bytes) -> bool:
        """Hand a notification to the first instance of a region that takes it; say whether one did."""
        told = {name.lower(): value for name, value in fields.items() if name.lower() in PASSED}
        for peer in self._peers.get(region, ()):
            url = f"{peer}/v1/webhooks/assistants"
            answer = await self._exchange.send("POST", url, told, body, within_s=WITHIN_S)
            if isinstance(answer, Replied) and 200 <= answer.status < 300:
                return True
        return False

    async def close(self) -> None:
        """Let go of every connection."""
        await self._exchange.close()


def read_peer(text: str) -> tuple[str, str]:
    """Read `REGION=URL`. Raises `argparse.ArgumentTypeError`, which argparse reports as a usage error."""
    region, equals, url = text.partition("=")
    if not region or not equals or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not REGION=URL")
    return region, url.rstrip("/")


def by_region(peers: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the URLs of each region, in their order."""
    return {region: [url for one, url in peers if one == region] for region, _ in peers}
