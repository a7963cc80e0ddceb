"""A load balancer's choice: one instance after the other, those that refuse connections left out for a while. Pure."""

from __future__ import annotations

from collections.abc import Sequence

DOWN_S = 0.5
"""For how long an instance that refused a connection is left out: about as long as a probe's period."""


class Balance:
    """Chooses among the URLs of a region's instances. Times are in seconds, of any clock."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._next = 0
        self._down_until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._urls)

    def pick(self, now: float) -> str:
        """Return whose turn it is, of those that are up; where none is, of all."""
        for _ in self._urls:
            url = self._urls[self._next % len(self._urls)]
            self._next += 1
            if self._down_until.get(url, now) <= now:
                return url
        self._next += 1
        return self._urls[self._next % len(self._urls)]

    def refused(self, url: str, now: float) -> None:
        """An instance has refused a connection."""
        self._down_until[url] = now + DOWN_S
