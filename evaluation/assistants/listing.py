"""Lists as the API pages them: newest first unless asked otherwise, by cursors that are ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluation.assistants.life import Refusal

LIMIT_MAX = 100


def page(found: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of `found` (oldest first), by `limit` (1 to 100, 20), `order`, `after` and `before`."""
    limit, order = query.get("limit", "20"), query.get("order", "desc")
    if not limit.isdecimal() or not 1 <= int(limit) <= LIMIT_MAX:
        raise Refusal(400, f"Invalid 'limit': expected an integer between 1 and {LIMIT_MAX}, got {limit}.")
    if order not in {"asc", "desc"}:
        raise Refusal(400, f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.")
    shown = found if order == "asc" else found[::-1]
    ids = [one["id"] for one in shown]
    for name in ("after", "before"):
        if query.get(name) and query[name] not in ids:
            raise Refusal(400, f"Invalid '{name}': no such object.")
    if after := query.get("after"):
        shown = shown[ids.index(after) + 1 :]
    elif before := query.get("before"):
        shown = shown[: ids.index(before)]
    data = shown[: int(limit)]
    return {
        "object": "list", "data": data, "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None, "has_more": len(shown) > len(data),
    }  # fmt: skip
