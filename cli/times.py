"""Times for people: moments to the millisecond in UTC without what the eye trips over, and ages in two units."""

from __future__ import annotations


def moment(instant: str) -> str:
    """Return an RFC 3339 moment as `2026-11-24 16:03:11.042Z`."""
    return instant.replace("T", " ", 1)


def age(seconds: int | None) -> str:
    """Return how long ago that is, such as `41s`, `3m 20s`, `5h 2m` or `12d 3h`; empty if it is not known."""
    if seconds is None:
        return ""
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h}h"
    if hours:
        return f"{h}h {m}m"
    return f"{m}m {s}s" if minutes else f"{s}s"
