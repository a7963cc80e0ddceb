"""Finding operations in the store for people: listed by state, filtered, looked up by id, gathered by run.

A store is keyed by scope and operation and has indexes for what is in flight and unknown. Whatever else is asked for is
looked through place by place, a bounded stretch at a time: an answer may be partial, and then has a cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from ledger import records
from ledger.key import Ref, scope_of
from ledger.records import CorruptRecord, Record
from ledger.store import Listed, Phase
from policies.matcher import PolicySet
from policies.model import ToolPolicy
from proxy.account import account, changed_ms, with_history
from proxy.books import Standing
from proxy.identity import ONE_TENANT
from proxy.works import Works

LOOK_S = 2.0
"""How long one request looks through the store before it answers with what it has found and a cursor."""

FIND_S = 10.0
"""The same for an operation that is in no scope that we know of, and for a run."""

PAGE = 200
"""Places asked for at a time where most of them may be filtered out."""

TOGETHER = 32
"""Places read at a time."""


class Filter(Struct, frozen=True):
    """What a listing is narrowed to; empty means everything. `since_ms`: not in this state for longer than that."""

    tool: str = ""
    run: str = ""
    thread: str = ""
    since_ms: int = 0

    def takes(self, record: Record) -> bool:
        """Say whether `record` is wanted."""
        call = record.call
        return (
            self.tool in {"", call.tool}
            and self.run in {"", call.run_id}
            and self.thread in {"", call.thread_id}
            and (not self.since_ms or changed_ms(record) >= self.since_ms)
        )


class Found(Struct, frozen=True):
    """Part of a listing; `cursor` asks for the next part, empty after the last."""

    operations: list[dict[str, Any]]
    cursor: str


class Operations:
    """Looks into the store. `policies` yields the set that is in force."""

    def __init__(self, works: Works, policies: Callable[[], PolicySet]) -> None:
        self._works = works
        self._policies = policies

    async def listed(
        self, phase: Phase | None, wanted: Filter, cursor: str, limit: int, look_s: float = LOOK_S
    ) -> Found:
        """List about `limit` operations after `cursor`. Raises `StoreUnavailable`, and `ValueError` for a cursor of
        another listing."""
        clock = self._works.clock
        until_s = clock() + look_s
        found: list[dict[str, Any]] = []
        while True:
            # Without a filter a page must not be larger than what is still wanted; with one, most of it goes.
            page = await self._works.books.scan(phase, cursor, PAGE if wanted != Filter() else limit - len(found))
            found += self._told(page.places, wanted)
            cursor = page.cursor
            if not cursor or len(found) >= limit or clock() >= until_s:
                return Found(found, cursor)

    async def of_run(self, run_id: str) -> Found:
        """Return what is known of a run's operations, in the order of their first claims. Raises `StoreUnavailable`."""
        found = await self.listed(None, Filter(run=run_id), "", 10_000, FIND_S)
        by_operation = {told["operation"]: told for told in found.operations}  # a place that moves may come twice
        return Found(sorted(by_operation.values(), key=lambda told: str(told["created"])), found.cursor)

    async def find(self, operation: str) -> tuple[Ref, Standing] | None:
        """Return where an operation stands, or None if there is none by that id.

        Raises `StoreUnavailable`; `CorruptRecord` if what stands there cannot be read; `TimeoutError` if it is in none
        of the scopes that we know of, and the store is too large to be looked through.
        """
        known = self._known_scopes()
        if (found := await self._in(operation, known)) is not None:
            return found
        unknown = {count.scope for count in await self._works.books.unknowns()} - set(known)
        if (found := await self._in(operation, sorted(unknown))) is not None:
            return found
        until_s = self._works.clock() + FIND_S
        cursor = ""
        while True:
            page = await self._works.books.scan(None, cursor, PAGE)
            for place in page.places:
                if place.ref.operation == operation:
                    return await self._in(operation, [place.ref.scope])
            cursor = page.cursor
            if not cursor:
                return None
            if self._works.clock() >= until_s:
                raise TimeoutError

    def tell(self, record: Record, *, has_result: bool, lease_left_ms: int | None) -> dict[str, Any]:
        """Return the account of one operation, without its history."""
        works = self._works
        return account(
            record, has_result=has_result, lease_left_ms=lease_left_ms, now_ms=works.now_ms(),
            payload_hash=works.log.keyed(record.fingerprint), policy=self.policy_of(record),
        )  # fmt: skip

    def tell_whole(self, standing: Standing) -> dict[str, Any]:
        """Return the account of one operation with its history."""
        told = self.tell(standing.record, has_result=standing.stored is not None, lease_left_ms=standing.lease_left_ms)
        return with_history(told, standing.record)

    def tell_ruled(self, record: Record, *, has_result: bool) -> dict[str, Any]:
        """Return the account of an operation that has just been ruled on, with its history."""
        return with_history(self.tell(record, has_result=has_result, lease_left_ms=None), record)

    def policy_of(self, record: Record) -> ToolPolicy | None:
        """Return the policy that is in force for a record's tool and tenant; None if there is none any more."""
        policies = self._policies()
        if record.call.tool == policies.unmatched_write.tool:
            return policies.unmatched_write
        ours = [policy for policy in policies.policies if policy.tool == record.call.tool]
        named = [policy for policy in ours if record.call.tenant in policy.match.tenants]
        return next(iter(named or [policy for policy in ours if not policy.match.tenants]), None)

    def _told(self, places: Iterable[Listed], wanted: Filter) -> list[dict[str, Any]]:
        told = []
        for place in places:
            try:
                record = records.decode(place.record, place.ref.operation)
            except CorruptRecord as error:
                if wanted == Filter():
                    told.append({"operation": place.ref.operation, "state": "unreadable", "detail": str(error)})
                continue
            if wanted.takes(record):
                told.append(self.tell(record, has_result=place.has_result, lease_left_ms=place.lease_left_ms))
        return told

    def _known_scopes(self) -> list[str]:
        """Return the scopes that the policies in force name: their tools, for every tenant that any of them names."""
        policies = self._policies()
        tenants = {ONE_TENANT}
        for policy in policies.policies:
            tenants |= policy.match.tenants
            if policy.key.tenant is not None and policy.key.tenant.kind == "value":
                tenants.add(policy.key.tenant.argument)
        tools = {policy.tool for policy in policies.policies if policy.effect == "write"}
        tools.add(policies.unmatched_write.tool)
        return [scope_of(tenant, tool) for tenant in sorted(tenants) for tool in sorted(tools)]

    async def _in(self, operation: str, scopes: list[str]) -> tuple[Ref, Standing] | None:
        for start in range(0, len(scopes), TOGETHER):
            refs = [Ref(scope, operation) for scope in scopes[start : start + TOGETHER]]
            for ref, standing in zip(refs, await asyncio.gather(*map(self._works.books.read, refs)), strict=True):
                if standing is not None:
                    return ref, standing
        return None
