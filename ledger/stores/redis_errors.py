"""What Redis and the libraries that speak to it say, in our words: the one place where their errors are translated.

An error reply means that nothing was written: the scripts see to that (`scripts/swap.lua`). Some mean that we talk to
the wrong server, or to one that is not ready: those are worth a new connection.
"""

from __future__ import annotations

import re
import ssl

import redis.exceptions
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from ledger.store import StoreUnavailable

OPENING_FAILURES = (RedisError, OSError, EOFError, TimeoutError, RuntimeError)
"""What opening a connection may raise. RuntimeError: uvloop's `handler is closed`, a lost connection."""


class ErrorReply(Exception):
    """An error that the server answered a command with. `code` is its kind: the first known word in it."""

    @property
    def code(self) -> str:
        """The error's kind. Redis 6.2 buries it in `ERR Error running script (…): … -OOM command not allowed …`."""
        if "user executing the script can't" in str(self):  # 6.2's NOPERM from inside a script
            return "NOPERM"
        found = _CODES.search(str(self))
        return found[0] if found else "ERR"


class Lost(Exception):
    """The connection went away with the command under way: it may or may not have run."""


class Garbled(Exception):
    """The bytes that came in are not Redis's protocol."""


RIGHTS = "~holdfast:* &holdfast:* +@read +@write +@scripting +@connection +info +time +publish +subscribe +wait"
"""What Holdfast's user must be granted. CONFIG GET helps, but is not needed; WAIT is where a policy names replicas."""

_MEANINGS = {
    "BUSY": "is busy with a script of somebody else's",
    "CLUSTERDOWN": "is a cluster that is down",
    "FOREIGN": "holds something that Holdfast did not write at this operation's place",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its primary",
    "MISCONF": "refuses writes because it cannot save to disk",
    "MOVED": "is a cluster, which this store does not speak to",
    "NOAUTH": "asks for a password: put it into the store's URL",
    "NOPERM": f"does not permit what Holdfast needs: ACL SETUSER … {RIGHTS}",
    "NOREPLICAS": "refuses writes because too few replicas are connected (min-replicas-to-write)",
    "NOSCRIPT": "forgets scripts as soon as they are loaded",
    "OOM": "is out of memory and refuses new claims: raise maxmemory or free some",
    "READONLY": "is a replica, which cannot take writes",
    "WRONGPASS": "refuses the user name or the password in the store's URL",
    "WRONGTYPE": "holds something that Holdfast did not write at one of Holdfast's keys",
}
_CODES = re.compile(rf"\b(?:{'|'.join(_MEANINGS)})\b")

ELSEWHERE = frozenset({"LOADING", "MASTERDOWN", "READONLY"})
"""Refused before anything was written, by a server that is not, or not yet, the one to ask: connect anew and repeat."""


def unavailable(reply: ErrorReply, where: str) -> StoreUnavailable:
    """Return what callers are told of an error reply from the server at `where`."""
    meaning = _MEANINGS.get(reply.code, "answered with an error")
    return StoreUnavailable(f"redis at {where} {meaning} ({reply})")


def unreachable(error: BaseException, where: str) -> StoreUnavailable:
    """Return what callers are told of a connection to `where` that could not be opened."""
    cause = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    match cause:
        case AuthenticationError() | AuthorizationError():
            return StoreUnavailable(f"redis at {where} {_MEANINGS['WRONGPASS']} ({error})")
        case NoPermissionError():
            return StoreUnavailable(f"redis at {where} {_MEANINGS['NOPERM']} ({error})")
        case ssl.SSLError():
            return StoreUnavailable(f"redis at {where}: TLS failed ({cause})")
        case TimeoutError() | redis.exceptions.TimeoutError():
            return StoreUnavailable(f"redis at {where} did not take the connection in time")
        case _:
            return StoreUnavailable(f"redis at {where} cannot be reached ({error})")
