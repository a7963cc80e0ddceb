"""Scripts and commands on a link: forgotten scripts are loaded again, replies are checked, errors translated.

A reply of a kind that a script never gives means that replies and commands are out of step, and that everybody behind
would get another's: the connection is given up on the spot (invariant I3).
"""

from __future__ import annotations

import asyncio

from ledger.store import StoreUnavailable
from ledger.stores.redis_errors import ErrorReply, unavailable
from ledger.stores.redis_link import Link
from ledger.stores.redis_scripts import Script
from ledger.stores.redis_wire import Reply, pack


class Runner:
    """Runs scripts. `where` names the server, `deadline_s` bounds each call."""

    def __init__(self, link: Link, where: str, deadline_s: float) -> None:
        self._link = link
        self._where = where
        self._deadline_s = deadline_s
        self._loading: set[str] = set()

    async def run(self, script: Script, *arguments: bytes | str | int) -> Reply:
        """Run a script with its number of keys, keys and arguments; return its reply. Raises StoreUnavailable."""
        command = pack((b"EVALSHA", script.sha, *arguments))
        return await self.made_good(script, command, await self._link.call(command))

    async def made_good(self, script: Script, command: bytes, reply: Reply) -> Reply:
        """Return what a script's `command` was to be answered with, given that it was answered with `reply`.

        That is the same, unless the server has forgotten the script: then it is given it, and asked again. Raises
        `StoreUnavailable` for any other error, and for what is no answer to the script at all.
        """
        if type(reply) is ErrorReply and reply.code == "NOSCRIPT":
            # Nothing ran: somebody flushed the scripts. (A new connection brings its own.)
            until = asyncio.get_running_loop().time() + self._deadline_s
            if script.name not in self._loading:
                # The first to notice loads it; others, until it is loaded, only ask again: the order of commands does
                # the rest, and whatever was sent before has its answer by then.
                self._loading.add(script.name)
                try:
                    loading = await self._link.call(pack((b"SCRIPT", b"LOAD", script.text)), until)
                finally:
                    self._loading.discard(script.name)
                self._checked(loading, frozenset({bytes}))
            reply = await self._link.call(command, until)
        return self._checked(reply, script.replies)

    async def ask(self, expected: type, *command: bytes | str | int) -> Reply:
        """Send a plain command and return its reply, which is of the `expected` type. Raises StoreUnavailable."""
        return self._checked(await self._link.call(pack(command)), frozenset({expected}))

    def _checked(self, reply: Reply, expected: frozenset[type]) -> Reply:
        if type(reply) in expected:
            return reply
        if type(reply) is ErrorReply:
            raise unavailable(reply, self._where)
        raise self.astray()

    def astray(self) -> StoreUnavailable:
        """Give the connection up, and return what the caller is told who was handed a reply that cannot be his."""
        why = "a reply does not belong to its command"
        self._link.drop(why)
        return StoreUnavailable(f"redis at {self._where}: {why}")
