"""The policies of a folder as one value, and the question that every request asks of it: which of them is meant?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from policies.model import UNMATCHED, ToolPolicy
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
        self.policies: Final = tuple(sorted(policies, key=lambda policy: policy.tool))
        self.unmatched_write: Final = msgspec.structs.replace(unmatched, tool=UNMATCHED, effect="write")
        self.unmatched_read: Final = msgspec.structs.replace(unmatched, tool=UNMATCHED, effect="read")
        self.generation: Final = generation
        content = msgspec.json.encode((self.policies, self.unmatched_write), order="deterministic")
        self.digest: Final = hashlib.sha256(content).hexdigest()
        candidates = [_Candidate(parse_pattern(policy.match.path), policy) for policy in self.policies]
        candidates.sort(key=lambda candidate: (candidate.pattern.rank, not candidate.policy.match.methods))
        self._literals: dict[str, list[_Candidate]] = {}
        self._wild: list[_Candidate] = []
        for candidate in candidates:
            literal = candidate.pattern.literal
            (self._wild if literal is None else self._literals.setdefault(literal, [])).append(candidate)
        methods = {method for policy in self.policies for method in policy.match.methods} | set(KNOWN_METHODS)
        self._exact = {(method, path): self._find(method, path) for path in self._literals for method in methods}
        self._cache: dict[tuple[str, str], ToolPolicy] = {}

    def match(self, method: str, path: str) -> ToolPolicy:
        """Return the policy for a request: the most specific match, or one of the two that are labelled `_unmatched`.

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

    def of_tool(self, tool: str) -> ToolPolicy | None:
        """Return a tool's policy by its name; for `_unmatched` the write policy."""
        if tool == UNMATCHED:
            return self.unmatched_write
        return next((policy for policy in self.policies if policy.tool == tool), None)

    @property
    def longest_upstream_ms(self) -> int:
        """The longest that any write may be under way before its outcome is called unknown."""
        return max(policy.timeouts.upstream_ms for policy in (*self.policies, self.unmatched_write))

    def _find(self, method: str, normal: str) -> ToolPolicy:
        for candidate in self._literals.get(normal, ()):
            if candidate.speaks_for(method):
                return candidate.policy
        segments = normal.split("/")[1:]
        for candidate in self._wild:
            if candidate.speaks_for(method) and candidate.pattern.matches(segments):
                return candidate.policy
        return self._unmatched(method)

    def _unmatched(self, method: str) -> ToolPolicy:
        return self.unmatched_read if method in SAFE_METHODS else self.unmatched_write
