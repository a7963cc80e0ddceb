"""The turns that one environment replayed, and what was to be expected of them, whatever became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from evaluation.replay.truth import intended, planned
from evaluation.replay.turns import Identity, Turn

NOBODY = "nobody"
"""The cluster of what belongs to no user of the trace."""


class Share(Struct, frozen=True):
    """Turns, by what the report asks of them.

    turns        all of them, by id.
    users        who says them, in order: these are the clusters of every interval.
    own          how many turns each user says; a turn that is resent is the same turn and is not one more.
    writing      how many of these have a call that writes: the denominator of most figures.
    meant, plan  the effects that are meant, and those that an orchestrator plans that runs each of these turns once.
    said_again, resent  effects that a turn of that kind asks for and that are not meant: what the user, or the client,
                 asks for twice.
    threads, writing_threads  how many conversations there are, and how many in which something is written.
    writes       what a call of a tool with a payload does, as far as the trace has it.
    """

    turns: dict[str, Turn]
    users: tuple[str, ...]
    own: Counter[str]
    writing: Counter[str]
    meant: Counter[Identity]
    plan: Counter[Identity]
    said_again: Counter[Identity]
    resent: Counter[Identity]
    threads: int
    writing_threads: int
    writes: dict[tuple[str, str], Identity]

    def user(self, turn: str) -> str:
        """Return who says a turn."""
        found = self.turns.get(turn)
        return user_of(found.tenant, found.user) if found else NOBODY


def user_of(tenant: str, user: str) -> str:
    """Return a user's name; the same name with two tenants is two users."""
    return f"{tenant}/{user}" if tenant or user else NOBODY


def is_resent(turn: Turn) -> bool:
    """Say whether a turn is an earlier one, sent once more."""
    return turn.repeat is not None and turn.repeat.kind == "resent"


def share_of(turns: Iterable[Turn]) -> Share:
    """Gather what turns say."""
    turns = list(turns)
    own = [turn for turn in turns if not is_resent(turn)]
    users = Counter(user_of(turn.tenant, turn.user) for turn in own)
    return Share(
        turns={turn.id: turn for turn in turns},
        users=tuple(sorted(users)),
        own=users,
        writing=Counter(user_of(turn.tenant, turn.user) for turn in own if turn.planned()),
        meant=intended(turns),
        plan=planned(own),
        said_again=_unmeant(turns, "said-again"),
        resent=_unmeant(turns, "resent"),
        threads=len({(turn.tenant, turn.thread) for turn in own}),
        writing_threads=len({(turn.tenant, turn.thread) for turn in own if turn.planned()}),
        writes={(one.tool, one.payload_hash): one for turn in turns for one in turn.planned()},
    )


def _unmeant(turns: Iterable[Turn], kind: str) -> Counter[Identity]:
    asked = [turn for turn in turns if turn.repeat is not None and turn.repeat.kind == kind]
    return planned(asked) - intended(asked)
