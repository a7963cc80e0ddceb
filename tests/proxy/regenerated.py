"""Calls whose ids lie: the same effect under other tool call ids, in other runs, or without any id."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

from msgspec.structs import replace

from ledger.key import ref_of
from policies.model import EffectRules, KeyRules, Selector, ToolPolicy
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.fields import ALWAYS_CONTROL, Sorter
from proxy.forward import Origin, Outbound
from proxy.identity import Identity, call_of, control_names
from tests.proxy.world import POLICY, field

WINDOW_S = 90
FIELDS = (Selector("body", "/user_id"), Selector("body", "/subject"))


def effects(
    then: Literal["observe", "hold", "replay", "refuse"] = "replay",
    scope: Literal["run", "thread", "user", "tenant"] = "thread", *, base: ToolPolicy = POLICY,
    window_s: int = WINDOW_S,
) -> ToolPolicy:  # fmt: skip
    """Return a policy that knows what makes two calls one effect."""
    return replace(base, effect_key=EffectRules(FIELDS, scope, window_s * 1_000, then))


REPLAY, REFUSE, HOLD, OBSERVE = effects("replay"), effects("refuse"), effects("hold"), effects("observe")
NO_IDS = replace(REPLAY, key=KeyRules(on_missing="effect"))


def request(
    call: str | None = "call_X1", policy: ToolPolicy = REPLAY, *, run: str | None = "run_Ba91",
    thread: str | None = "thread_7QpK", user: str | None = "U19384", subject: str | None = "printer",
    note: str = "", principal: str | None = None, patience_s: float | None = None,
    gone: asyncio.Event | None = None,
) -> Arrival:  # fmt: skip
    """Return an attempt as the data port would make it of a request with these ids, fields and words."""
    named = {b"X-Run-Id": run, b"X-Tool-Call-Id": call, b"X-Thread-Id": thread, b"X-User-Id": user,
             b"Authorization": principal}  # fmt: skip
    raw = tuple((name, value.encode()) for name, value in named.items() if value is not None)
    document = {"user_id": user, "subject": subject, "note": note}
    body = json.dumps({name: value for name, value in document.items() if value is not None}).encode()
    identity = Identity(policy)
    incoming = Sorter(ALWAYS_CONTROL | control_names((policy,))).sort(raw)
    meant = identity.meant(incoming, body)
    assert meant.key is not None, "a call without identity"
    target = b"/tools/create_ticket"
    mark = identity.fingerprint(meant.key, b"POST", target, identity.principal(incoming), body, json_body=True)
    return Arrival(
        policy, ref_of(identity.separate(meant.key, mark)), call_of(policy, meant.tenant, incoming), mark,
        Outbound(Origin("http", "tool", 80), b"POST", target, raw, body),
        gone.is_set if gone is not None else lambda: False,
        None if patience_s is None else round(patience_s * 1_000), identity.principal(incoming), effect=meant.effect,
    )  # fmt: skip


def first_of(answer: Answer) -> str | None:
    """Return the operation that an answer says has the effect."""
    named = field(answer, "Holdfast-Effect-Of")
    assert named == (answer.effect_of or None)
    if answer.problem:
        assert json.loads(answer.body).get("first_operation") == named
    return named
