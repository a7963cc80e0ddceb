"""Audits as tests write them: effects of a tool, one line of which says what matters."""

from __future__ import annotations

from itertools import count

from evaluation.replay.turns import Identity
from evaluation.tools.audit import Effect

_numbers = count(1)


def effect(identity: Identity, at: float = 0.0, call: str = "", operation: str = "") -> Effect:
    """Return an effect of an identity, at a time, under a tool call of a run and an operation."""
    return Effect(
        tool=identity.tool,
        tenant=identity.tenant,
        user_id=identity.user,
        payload_hash=identity.payload_hash,
        run_id="run_1" if call else "",
        tool_call_id=call,
        operation=operation,
        audit_id=f"aud_{next(_numbers)}",
        arrived_at=at,
        ts=at,
        answered=201,
    )


def identity(payload: str, user: str = "u1", tool: str = "create_ticket", tenant: str = "acme") -> Identity:
    """Return an identity."""
    return Identity(tool, tenant, user, payload)
