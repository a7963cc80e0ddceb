"""The policies of a folder as one value, and the question that every request asks of it: which of them is meant?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from policies.model import UNMATCHED, Selector, ToolPolicy
from policies.paths import Pattern, normal_path, parse_pattern

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What no policy names is a read if its method is one of these, and a write otherwise."""

UNNAMED_METHODS: Final = frozenset({"GET", "HEAD"})
"""A match that names no method means every method but these."""

KNOWN_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

CACHE_MAX: Final = 4096
"""How many answers for unusual spellings and wildcards are kept; then the cache starts anew. Policies' own paths are
looked up beside it, so that a flood of made-up paths slows nobody down but itself."""

CACHED_PATH_MAX: Final = 512
"""Longer paths are answered and not kept: with `CACHE_MAX` this bounds the cache to a few MiB."""


class _Candidate(msgspec.Struct, frozen=True):
    pattern: Pattern
    policy: ToolPolicy

    def speaks_for(self, method: str) -> bool:
        methods = self.policy.match.methods
        return method in methods if methods else method not in UNNAMED_METHODS

    @property
    def rank(self) -> tuple[tuple[int, ...], bool, bool]:
        """The smaller, the more specific: by path, then a named tenant before all of them, then a named method."""
        match = self.policy.match
        return self.pattern.rank, not match.tenants, not match.methods


class ByTenant(msgspec.Struct, frozen=True):
    """The policies for one method and path where it takes the tenant to tell which of them is meant.

    selector  where the request says whose it is: the `key.tenant` that all policies which name tenants agree on.
              A request that does not say is to be refused: no policy can be chosen for it.
    named     policies that name tenants, the most specific first.
    others    the policy for everybody else.
    """

    selector: Selector
    named: tuple[ToolPolicy, ...]
    others: ToolPolicy

    def of(self, tenant: str) -> ToolPolicy:
        """Return the policy for a tenant's request."""
        for policy in self.named:
            if tenant in policy.match.tenants:
                return policy
        return self.others


class PolicySet:
    """The policies that are in force together.

    `generation` counts the contents that a process has accepted, from 1; `digest` is the same for the same policies in
    every process. To be treated as frozen: a reload makes a new one.
    """

    __slots__ = (
        "_cache",
        "_exact",
        "_literals",
        "_wild",
        "digest",
        "generation",
        "policies",
        "unmatched_read",
        "unmatched_write",
    )

    def __init__(self, policies: Iterable[ToolPolicy], unmatched: ToolPolicy, generation: int = 1) -> None:
        """Take policies without ties; `unmatched` is the write policy of what none of them names."""
        self.policies: Final = tuple(sorted(policies, key=lambda policy: policy.label))
        self.unmatched_write: Final = msgspec.structs.replace(unmatched, tool=UNMATCHED, effect="write")
        self.unmatched_read: Final = msgspec.structs.replace(unmatched, tool=UNMATCHED, effect="read")
        self.generation: Final = generation
        content = msgspec.json.encode((self.policies, self.unmatched_write), order="deterministic")
        self.digest: Final = hashlib.sha256(content).hexdigest()
        candidates = [_Candidate(parse_pattern(policy.match.path), policy) for policy in self.policies]
        candidates.sort(key=lambda candidate: candidate.rank)
        self._literals: dict[str, list[_Candidate]] = {}
        self._wild: list[_Candidate] = []
        for candidate in candidates:
            literal = candidate.pattern.literal
            (self._wild if literal is None else self._literals.setdefault(literal, [])).append(candidate)
        methods = {method for policy in self.policies for method in policy.match.methods} | set(KNOWN_METHODS)
        self._exact = {(method, path): self._find(method, path) for path in self._literals for method in methods}
        self._cache: dict[tuple[str, str], ToolPolicy | ByTenant] = {}

    def match(self, method: str, path: str) -> ToolPolicy | ByTenant:
        """Return the policy for a request: the most specific match, or one of the two that are labelled `_unmatched`.
        Where policies name tenants for it, return what tells them apart; no other request pays for that.

        `method` as on the wire; `path` is the raw target's path without its query, octets beyond ASCII decoded as UTF-8
        with surrogateescape. The spelling of the path does not matter (see `policies.paths`).
        """
        asked = (method, path)
        found = self._exact.get(asked) or self._cache.get(asked)
        if found is None:
            normal = normal_path(path)
            found = self._unmatched(method) if normal is None else self._find(method, normal)
            if len(path) <= CACHED_PATH_MAX and len(method) <= 32:
                if len(self._cache) >= CACHE_MAX:
                    self._cache.clear()
                self._cache[asked] = found
        return found

    def of_tool(self, tool: str, tenant: str | None = None) -> ToolPolicy | None:
        """Return a tool's policy by its name, a tenant's if it has one of its own; for `_unmatched` the write policy.

        Without a tenant, or for one that no policy names, it is the tool's policy for everybody else, if there is one.
        """
        if tool == UNMATCHED:
            return self.unmatched_write
        found = [policy for policy in self.policies if policy.tool == tool]
        named = (policy for policy in found if tenant is not None and tenant in policy.match.tenants)
        return next(named, next((policy for policy in found if not policy.match.tenants), None))

    @property
    def longest_upstream_ms(self) -> int:
        """The longest that any write may be under way before its outcome is called unknown."""
        return max(policy.timeouts.upstream_ms for policy in (*self.policies, self.unmatched_write))

    def _find(self, method: str, normal: str) -> ToolPolicy | ByTenant:
        named: list[ToolPolicy] = []
        for policy in self._speaking(method, normal):
            if not policy.match.tenants:
                return self._told_apart(named, policy)
            named.append(policy)
        return self._told_apart(named, self._unmatched(method))

    def _speaking(self, method: str, normal: str) -> Iterator[ToolPolicy]:
        """Yield the policies that match, whoever asks, the most specific first."""
        for candidate in self._literals.get(normal, ()):
            if candidate.speaks_for(method):
                yield candidate.policy
        segments = normal.split("/")[1:]
        for candidate in self._wild:
            if candidate.speaks_for(method) and candidate.pattern.matches(segments):
                yield candidate.policy

    @staticmethod
    def _told_apart(named: list[ToolPolicy], others: ToolPolicy) -> ToolPolicy | ByTenant:
        if not named:
            return others
        selector = named[0].key.tenant
        assert selector is not None, "a policy that names tenants says where to find them"
        return ByTenant(selector, tuple(named), others)

    def _unmatched(self, method: str) -> ToolPolicy:
        return self.unmatched_read if method in SAFE_METHODS else self.unmatched_write
