"""User turns: what is said, which calls the model makes of it, and which of their effects the user means.

What is meant is the denominator of truth. The calls that a run plans are not: a message that was sent twice is planned
twice and meant once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from evaluation.assistants.script import Plan, PlannedCall
from evaluation.tools.asking import payload_hash


class Identity(NamedTuple):
    """What an effect is, whoever caused it under whichever id: this tool, for this user, with this payload."""

    tool: str
    tenant: str
    user: str
    payload_hash: str


class Call(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One tool call. `meant` says whether the user wants its effect, over and above those of all earlier calls; of
    what reads it says nothing."""

    tool: str
    arguments: dict[str, Any]
    effect: Literal["read", "write"] = "write"
    meant: bool = True


class Repeat(Struct, frozen=True, forbid_unknown_fields=True):
    """That a turn says what an earlier one, `of`, has said.

    resent      the client sends the same turn again, under its `client_turn_id`: nothing new is meant.
    said-again  the user says it again within seconds, as a turn of its own: nothing new is meant.
    meant-again the user wants the same once more.
    """

    of: str
    kind: Literal["resent", "said-again", "meant-again"]


class Turn(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One user turn.

    id              its name in the trace.
    at              when it is said, in seconds from the beginning of the replay.
    thread          the conversation that it belongs to, by a name of the trace's own: the API gives threads others.
    client_turn_id  under which it is sent; a turn that is resent has its predecessor's.
    text            what the user says.
    steps           the calls that the model makes of it: those of one step at once, one step after the other.
    repeat          which earlier turn it repeats, if any.
    """

    id: str
    at: float
    tenant: str
    user: str
    thread: str
    client_turn_id: str
    text: str = ""
    steps: tuple[tuple[Call, ...], ...] = ()
    repeat: Repeat | None = None

    def calls(self) -> Iterator[Call]:
        """Yield the turn's calls, step by step."""
        return (call for step in self.steps for call in step)

    def planned(self) -> tuple[Identity, ...]:
        """Return the effects that a run of this turn would have, meant or not."""
        return tuple(self._identity(call) for call in self.calls() if call.effect == "write")

    def intended(self) -> tuple[Identity, ...]:
        """Return the effects that the user means with this turn, over and above those of earlier turns."""
        return tuple(self._identity(call) for call in self.calls() if call.effect == "write" and call.meant)

    def message(self) -> str:
        """Return the user message that makes the simulated API's model plan this turn's calls, and call it by its
        `client_turn_id`."""
        steps = [[PlannedCall(call.tool, call.arguments) for call in step] for step in self.steps]
        return msgspec.json.encode(Plan(steps, self.client_turn_id)).decode()

    def _identity(self, call: Call) -> Identity:
        return Identity(call.tool, self.tenant, self.user, payload_hash(msgspec.json.encode(call.arguments)))
