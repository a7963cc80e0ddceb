"""The policies of the replay's tools, as their operator would write them, with effect keys and without.

They differ from the shipped ones where the simulated tools differ from the real ones: none honours a key, and each acts
within 12 s of being asked, or never. So a write that may have run is unknown after 15 s, and two of the four tools can
be asked for it. `window_s` is the seed's 90 s, divided by the replay's pace as all times between turns are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation.replay.arguments import READS

EFFECTS = {
    "create_ticket": ["body:/subject", "body:/priority"],
    "send_email": ["body:/to", "body:/subject", "body:/body"],
    "refund_payment": ["body:/payment_id", "body:/amount", "body:/currency"],
    "update_crm": ["body:/contact_id", "body:/fields"],
}
"""What makes two calls of a tool the same effect: all that it is told, since the replay counts effects by that."""

LOOKUPS = {"create_ticket": "/tickets", "refund_payment": "/refunds"}
"""Where a tool can be asked what became of a call. The others cannot: what is unknown of them stays so."""

ACTS_WITHIN_S = 15
"""What the operator knows of the tools: 10 s, and at most 2 s beyond; rounded up."""

IN_FLIGHT_MAX = 400
"""Of each tool and process: the replay is to find no limit here."""


def write_policies(folder: Path, *, effect_keys: bool, window_s: float) -> Path:
    """Write a file for each tool into `folder`, which is made, and return it. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    policies = [_read(tool) for tool in READS] + [_write(tool, effect_keys, window_s) for tool in EFFECTS]
    for policy in policies:
        # JSON is YAML: one writer less, and no surprises.
        (folder / f"{policy['tool']}.yaml").write_text(json.dumps(policy, indent=2) + "\n")
    return folder


def _read(tool: str) -> dict[str, Any]:
    return _policy(tool, "read") | {
        "timeouts": {"connect": "2s", "upstream": f"{ACTS_WITHIN_S}s", "hold": "0s", "late": "0s"},
    }  # fmt: skip


def _write(tool: str, effect_keys: bool, window_s: float) -> dict[str, Any]:
    policy = _policy(tool, "write") | {
        "key": {
            "from": [["header:X-Run-Id", "header:X-Tool-Call-Id"]], "tenant": "header:X-Tenant-Id",
            "onMissing": "reject",
        },
        "timeouts": {"connect": "2s", "upstream": f"{ACTS_WITHIN_S}s", "hold": "30s", "late": "10m"},
        "retry": {"attempts": 2, "on": ["not-sent"]},
        "result": {"failedIf": ["body:/isError == true"], "auditId": "body:/id"},
        "unknown": {"then": "hold"},
    }  # fmt: skip
    if tool in LOOKUPS:
        policy["unknown"] = {"probe": {
            "get": LOOKUPS[tool] + "?external_ref={operation}", "applied": "body:/items/0", "after": "1s",
            "every": "1s", "for": "60s", "notApplied": {"trust": "after", "after": f"{ACTS_WITHIN_S}s"},
        }}  # fmt: skip
    if effect_keys:
        window = f"{max(1, round(window_s * 1_000))}ms"
        fields = ["header:X-User-Id", *EFFECTS[tool]]
        policy["effectKey"] = {"fields": fields, "scope": "tenant", "window": window, "then": "replay"}
    return policy


def _policy(tool: str, effect: str) -> dict[str, Any]:
    return {
        "apiVersion": "holdfast.dev/v1", "kind": "ToolPolicy", "tool": tool, "effect": effect,
        "match": {"method": "POST", "path": f"/tools/{tool}"}, "limits": {"inFlight": IN_FLIGHT_MAX},
    }  # fmt: skip
