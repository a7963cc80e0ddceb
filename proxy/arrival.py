"""One attempt: a request with an identity, as the guard sees it. HTTP has been left behind at the door."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from ledger.key import Ref
from ledger.records import Call, EffectHold, ProbePlan
from policies.model import ToolPolicy
from proxy.forward import Forward, Outbound

if TYPE_CHECKING:
    from proxy.traces import CallSpan


class Arrival(Struct, frozen=True):
    """A keyed write call.

    request      what goes to the tool, but for Holdfast's own fields.
    patience_ms  how long the caller said it would wait (`Prefer: wait`), already shortened so that the answer comes in
                 time; None if it did not say.
    gone         tells whether the caller has hung up.
    credential   who asks, where the policy says how that is told; for a digest of it in the record, and kept nowhere.
    deferrable   once its patience is over the caller wants a 202, and a place to ask again (`Prefer: respond-async`).
    forward      who sends it, where that is not the process's own forward (observe mode).
    plan         how to ask the tool later what became of the call; None where the policy knows no way.
    effect       the effect key; empty if the policy asks for none, or the call lacks a field of it.
    span         the request's span, where calls are traced.
    """

    policy: ToolPolicy
    ref: Ref
    call: Call
    fingerprint: str
    request: Outbound
    gone: Callable[[], bool]
    patience_ms: int | None = None
    credential: str | None = None
    deferrable: bool = False
    plan: ProbePlan | None = None
    effect: str = ""
    forward: Forward | None = None
    span: CallSpan | None = None

    @property
    def hold(self) -> EffectHold | None:
        """What a claim for this arrival holds beside its key."""
        rules = self.policy.effect_key
        return EffectHold(self.effect, rules.window_ms) if self.effect and rules is not None else None
