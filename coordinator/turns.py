"""Starting turns: thread, message and run are made once for each `client_turn_id`, however often it is asked for.

Each thing carries the turn's marker in its metadata. What may or may not have been made is looked for by it, and never
made again on a guess. (An empty thread is the exception: threads cannot be listed, nobody sees one, and it has no
effect; the thread's id is written down before anything is put into it.)
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from coordinator import transitions
from coordinator.backend import Away, Created, Gone, Refused, Unclear
from coordinator.keeping import label_of
from coordinator.means import Means
from coordinator.records import CorruptRecord, Turn, decode_turn, encode, run_key
from coordinator.store import Astray, Put, Standing, Written
from coordinator.watching import Watching
from ledger.store import StoreUnavailable

MARKER = "holdfast_turn"
TRIES_MAX = 3
"""Creations of one thing in one go: more, and its caller is told to ask again."""
SETTLE_S = 0.5
"""Before something that may have been made is looked for: the API may still be at it."""
OTHERS_S = 10.0
"""How long a caller waits for another replica that is at the same turn; then it is told to ask again."""
LOOK_S = 0.1
OURS_SHARE = 0.3
"""Of the visibility, after a write: when that is over, a turn is written anew before anything is made for it, so that
what is left is longer than a creation may take."""
RETRY_S = 0.25
WRITES_MAX = 4
"""Tries to write down a run that was made, while the store is away."""

Find = Callable[[], Awaitable[Created | Gone | Away | None]]
Make = Callable[[], Awaitable[Created | Refused | Gone | Away | Unclear]]


class TurnAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user wants said, and to whom."""

    client_turn_id: str
    message: str
    assistant_id: str
    thread_id: str = ""
    tenant: str = ""
    user: str = ""


class Started(Struct, frozen=True):
    """The turn's run; `anew` if it was made for this very request."""

    thread_id: str
    run_id: str
    anew: bool


class NotStarted(Struct, frozen=True):
    """Why there is no run: `mismatch` (the id belongs to another request), `busy` (the thread has an active run),
    `refused` (the API's word), `pending` (another replica is at it) or `away` (ask again under the same id)."""

    why: str
    detail: str
    status: int = 0


MISMATCH = NotStarted("mismatch", "this client_turn_id belongs to another request")


class _Under(Struct):
    """A turn under way here: its place, the version that stands there (None: nothing yet), what it says, and until when
    (loop time) it is certainly ours."""

    key: str
    version: str | None
    turn: Turn
    ours_until: float = 0.0


class _Lost(Exception):
    """Another replica has the turn, or may have it."""


class Turns:
    """One per process. The runs that it makes are kept by `watching`."""

    def __init__(self, means: Means, watching: Watching) -> None:
        self._means = means
        self._watching = watching
        self._under_way: dict[str, asyncio.Task[Started | NotStarted]] = {}
        self._asked: dict[str, str] = {}
        """The digest of the request that each of them is for."""

    async def start(self, ask: TurnAsk, trace: str = "") -> Started | NotStarted:
        """Start the turn, within the span that `trace` names (if any), or say what became of it. Goes on if its caller
        hangs up. Raises `StoreUnavailable`, and `CorruptRecord`."""
        key, asked = _key(ask.tenant, ask.client_turn_id), _digest(*_parts(ask))
        task = self._under_way.get(key)
        joined = task is not None
        if task is None:
            task = self._go(key, asked, self._start(key, asked, ask, trace))
        if self._asked[key] != asked:
            return MISMATCH
        told = await asyncio.shield(task)
        if joined and isinstance(told, Started):
            return replace(told, anew=False)
        return told

    async def resume(self, place: Standing) -> None:
        """Finish a turn whose process died half way through it."""
        try:
            turn = decode_turn(place.record)
        except CorruptRecord as error:
            self._means.log.event("turn.unreadable", level="error", key=place.key, detail=str(error))
            return
        if turn.run_id or place.key in self._under_way:
            return
        under = _Under(place.key, place.version, turn)
        task = self._go(place.key, turn.asked, self._carry_on(under, resumed=True))
        try:
            told = await asyncio.shield(task)
        except StoreUnavailable as error:  # it falls due again
            self._means.store_is_away(error)
        else:
            self._means.log.event("turn.resumed", turn=turn.client_turn_id, result=type(told).__name__)

    def _go(
        self, key: str, asked: str, work: Coroutine[Any, Any, Started | NotStarted]
    ) -> asyncio.Task[Started | NotStarted]:
        """Begin to work at a turn, once in this process: whoever else asks for it meanwhile waits for that."""
        task = self._under_way[key] = asyncio.get_running_loop().create_task(work)
        self._asked[key] = asked
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: str, task: asyncio.Task[Started | NotStarted]) -> None:
        del self._under_way[key], self._asked[key]
        if not task.cancelled():
            task.exception()  # whoever waited was told

    async def _start(self, key: str, asked: str, ask: TurnAsk, trace: str) -> Started | NotStarted:
        means, loop = self._means, asyncio.get_running_loop()
        turn = Turn(
            client_turn_id=ask.client_turn_id, asked=asked, backend=means.backend.name, assistant_id=ask.assistant_id,
            created_ms=means.now_ms(), message=ask.message, thread_id=ask.thread_id, tenant=ask.tenant, user=ask.user,
            trace=trace,
        )  # fmt: skip
        under = _Under(key, None, turn)
        until = loop.time() + OTHERS_S
        while (standing := await self._claimed(under)) is not None:
            stands = decode_turn(standing.record)
            if stands.asked != asked:
                return MISMATCH
            if stands.run_id:
                return Started(stands.thread_id, stands.run_id, anew=False)
            if standing.owner in {"", means.owner}:
                return await self._carry_on(_Under(key, standing.version, stands), resumed=True)
            if loop.time() >= until:
                return NotStarted("pending", "another replica is starting this turn")
            await asyncio.sleep(LOOK_S)  # another replica's word comes through the store
        return await self._carry_on(under, resumed=False)

    async def _claimed(self, under: _Under) -> Standing | None:
        """Write a new turn down, as ours; return what stands there instead, if anything does."""
        answer = await self._swap(under, under.turn)
        return None if isinstance(answer, Written) else answer.standing

    async def _carry_on(self, under: _Under, *, resumed: bool) -> Started | NotStarted:
        """Do what is still to be done for a turn of ours, one thing after the other."""
        marker = {MARKER: _digest(under.turn.tenant, under.turn.client_turn_id)[:32]}
        if resumed and not await self._write(under, under.turn):
            return NotStarted("pending", "another replica is starting this turn")
        if not under.turn.thread_id:
            thread = await self._thread(marker)
            if not isinstance(thread, Created):
                return await self._gave_up(under, thread)
            if not await self._write(under, replace(under.turn, thread_id=thread.id)):
                return NotStarted("pending", "another replica is starting this turn")
        backend, turn = self._means.backend, under.turn
        try:
            made = await self._made(
                under, lambda: backend.find_message(turn.thread_id, marker),
                lambda: backend.create_message(turn.thread_id, turn.message, marker), resumed=resumed,
            )  # fmt: skip
            if isinstance(made, Created):
                made = await self._made(
                    under, lambda: backend.find_run(turn.thread_id, marker),
                    lambda: backend.create_run(turn.thread_id, turn.assistant_id, marker), resumed=resumed,
                )  # fmt: skip
        except _Lost:
            return NotStarted("pending", "another replica is starting this turn")
        return await (self._started(under, made) if isinstance(made, Created) else self._gave_up(under, made))

    async def _thread(self, marker: dict[str, str]) -> Created | Refused | Away | Unclear:
        made: Created | Refused | Away | Unclear = Unclear("")
        for _ in range(TRIES_MAX):
            made = await self._means.backend.create_thread(marker)
            if not isinstance(made, Unclear):
                return made
        return made

    async def _made(
        self, under: _Under, find: Find, create: Make, *, resumed: bool
    ) -> Created | Refused | Gone | Away | Unclear:
        """Make one thing, once: what may have been made already is looked for first. Raises `_Lost`."""
        made: Created | Refused | Gone | Away | Unclear | None = None
        for number in range(TRIES_MAX):
            if resumed or number:
                made = await find()
                if made is not None:
                    return made
            if asyncio.get_running_loop().time() >= under.ours_until and not await self._write(under, under.turn):
                raise _Lost
            made = await create()
            if not isinstance(made, Unclear):
                return made
            await asyncio.sleep(SETTLE_S)
        assert made is not None
        return made

    async def _started(self, under: _Under, made: Created) -> Started | NotStarted:
        """Write down the turn's run, and the run itself as ours, in one step; and keep it."""
        means, loop, turn = self._means, asyncio.get_running_loop(), under.turn
        done = replace(turn, run_id=made.id, message="")
        run = transitions.begun(
            turn.backend, turn.thread_id, made.id, means.now_ms(), tenant=turn.tenant, user=turn.user,
            turn=turn.client_turn_id, trace=turn.trace,
        )  # fmt: skip
        version, began = means.version(), loop.time()
        place = Put(
            run_key(turn.backend, made.id), None, version, encode(run), label=label_of(run), owner=means.owner,
            then="keep", in_ms=means.limits.visibility_ms,
        )  # fmt: skip
        answer = await self._insisted(self._put(under, done, release=True), place)
        if not isinstance(answer, Written) and answer.key != place.key:
            return NotStarted("pending", "another replica has started this turn")
        if isinstance(answer, Written):
            standing = Standing(place.key, version, place.record, means.owner)
            self._watching.adopt(standing, began + means.limits.visibility_ms / 1_000)
        else:  # somebody tracks the run already; the turn is written down alone
            await self._insisted(self._put(under, done, release=True))
        means.log.event("turn.started", turn=turn.client_turn_id, thread_id=turn.thread_id, run_id=made.id)
        return Started(turn.thread_id, made.id, anew=True)

    async def _insisted(self, *puts: Put) -> Written | Astray:
        """Swap, more than once if the store does not answer: the same writes have the effect of one, and what they
        write is known to nobody else."""
        for _ in range(WRITES_MAX - 1):
            try:
                return await self._means.store.swap(*puts)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
        return await self._means.store.swap(*puts)

    async def _gave_up(self, under: _Under, why: Refused | Gone | Away | Unclear) -> NotStarted:
        """Leave the turn as it is, for whoever asks again under its id."""
        means = self._means
        await means.store.swap(self._put(under, replace(under.turn, refused=why.why[:300]), release=True))
        means.log.event("turn.not-started", level="warning", turn=under.turn.client_turn_id, detail=why.why)
        match why:
            case Refused() if "active" in why.why:
                return NotStarted("busy", why.why, why.status)
            case Refused():
                return NotStarted("refused", why.why, why.status)
            case Gone():
                return NotStarted("refused", why.why, 404)
            case Away() | Unclear():
                return NotStarted("away", why.why)

    async def _write(self, under: _Under, turn: Turn) -> bool:
        """Write a turn of ours; say whether it still was ours to write."""
        return isinstance(await self._swap(under, turn), Written)

    async def _swap(self, under: _Under, turn: Turn) -> Written | Astray:
        put, began = self._put(under, turn), asyncio.get_running_loop().time()
        answer = await self._means.store.swap(put)
        if isinstance(answer, Written):
            under.version, under.turn = put.version, turn
            under.ours_until = began + self._means.limits.visibility_ms * OURS_SHARE / 1_000
        return answer

    def _put(self, under: _Under, turn: Turn, *, release: bool = False) -> Put:
        limits = self._means.limits
        return Put(
            under.key, under.version, self._means.version(), encode(turn), owner=self._means.owner,
            then="release" if release else "keep", in_ms=None if release else limits.visibility_ms,
            forget_ms=limits.remember_ms if turn.run_id or turn.refused else None,
        )  # fmt: skip


def _parts(ask: TurnAsk) -> tuple[str, ...]:
    return ask.client_turn_id, ask.message, ask.assistant_id, ask.thread_id, ask.tenant, ask.user


def _key(tenant: str, client_turn_id: str) -> str:
    return f"turn:{_digest(tenant, client_turn_id)}"


def _digest(*parts: str) -> str:
    """Return a digest of some texts, each with its length, so that no two lists of them share it."""
    data = b"".join(b"%d:%b" % (len(part), part) for part in (text.encode("utf-8", "surrogatepass") for text in parts))
    return hashlib.sha256(data).hexdigest()
