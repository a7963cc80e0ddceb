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


class Misdirected(StoreUnavailable):
    """A node of a cluster said that another one is to be asked, or none for now. Nothing was written."""


_COMMANDS = (
    "evalsha script|load exists get hdel hget hmget hset persist pexpire pttl sadd scan set sscan time type unlink"
    " zadd zcard zrange zrank zrem zscore publish subscribe ping select info wait"
)
RIGHTS = f"~holdfast:* &holdfast:* {' '.join(f'+{command}' for command in _COMMANDS.split())}"
"""All that Holdfast's user must be granted, and no more: nothing here flushes or configures. WAIT is where a policy
names replicas, SELECT where the URL names a database. CONFIG GET helps to tell what can be lost."""
CLUSTER_RIGHTS = f"{RIGHTS} +cluster|slots +cluster|info"
"""The same for a node of a cluster."""
_RUN_COMMANDS = (
    "incr pexpireat scard smembers srem zcount xack xadd xautoclaim xdel xgroup|create xgroup|delconsumer"
    " xinfo|consumers xlen xpending xrange xreadgroup"
)
RUN_RIGHTS = " ".join(f"+{command}" for command in _RUN_COMMANDS.split())
"""What a coordinator's user must be granted beside these, for its runs and the queue of results."""

_MEANINGS = {
    "ASK": "is moving what is asked for to another node",
    "BUSY": "is busy with a script of somebody else's",
    "CLUSTERDOWN": "is a node of a cluster that is down, or of which a part is (cluster-require-full-coverage)",
    "FOREIGN": "holds something that Holdfast did not write in the place of an operation or a run",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its primary",
    "MISCONF": "refuses writes because it cannot save to disk",
    "MOVED": "is a node of a cluster, and not the one that has this: for a cluster, give redis+cluster://",
    "NOAUTH": "asks for a password: give one in the store's URL, or the file that holds it",
    "NOPERM": f"does not permit what Holdfast needs: ACL SETUSER … {RIGHTS} (and for a cluster +cluster|slots"
    f" +cluster|info; for coordinators {RUN_RIGHTS})",
    "NOREPLICAS": "refuses writes because too few replicas are connected (min-replicas-to-write)",
    "NOSCRIPT": "forgets scripts as soon as they are loaded",
    "OOM": "is out of memory and refuses new claims: raise maxmemory or free some",
    "READONLY": "is a replica, which cannot take writes",
    "TRYAGAIN": "is moving what is asked for to another node",
    "WRONGPASS": "refuses the user name or the password in the store's URL, or in its password file",
    "WRONGTYPE": "holds something that Holdfast did not write at one of Holdfast's keys",
}
_CODES = re.compile(rf"\b(?:{'|'.join(_MEANINGS)})\b")

ELSEWHERE = frozenset({"LOADING", "MASTERDOWN", "READONLY"})
"""Refused before anything was written, by a server that is not, or not yet, the one to ask: connect anew and repeat."""


MISDIRECTED = frozenset({"ASK", "CLUSTERDOWN", "MOVED", "TRYAGAIN"})
"""Refused before anything was written, by a node of a cluster: look who has the slot now, and repeat there."""


def unavailable(reply: ErrorReply, where: str) -> StoreUnavailable:
    """Return what callers are told of an error reply from the server at `where`."""
    meaning = _MEANINGS.get(reply.code, "answered with an error")
    kind = Misdirected if reply.code in MISDIRECTED else StoreUnavailable
    return kind(f"redis at {where} {meaning} ({reply})")


def raise_if_refused(reply: object, where: str) -> None:
    """Raise `StoreUnavailable` for a reply that is none: an error, or one of the exceptions that lines hand out."""
    match reply:
        case ErrorReply():
            raise unavailable(reply, where)
        case StoreUnavailable():
            raise reply
        case Exception():
            raise StoreUnavailable(f"redis at {where}: {reply}")
        case _:
            pass


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
            return StoreUnavailable(f"redis at {where}: TLS failed ({cause}): {_tls_remedy(cause)}")
        case TimeoutError() | redis.exceptions.TimeoutError():
            return StoreUnavailable(f"redis at {where} did not take the connection in time")
        case _:
            return StoreUnavailable(f"redis at {where} cannot be reached ({error})")


def _tls_remedy(error: ssl.SSLError) -> str:
    told = str(error)
    for sign, remedy in _TLS_REMEDIES.items():
        if sign in told:
            return remedy
    return "see ssl_ca_certs, ssl_certfile and ssl_keyfile in the store's URL"


_TLS_REMEDIES = {
    "Hostname mismatch": "its certificate is for another name: ask for it under one of its own",
    "IP address mismatch": "its certificate is for another name: ask for it under one of its own",
    "certificate has expired": "give it a new certificate",
    "CERTIFICATE_VERIFY_FAILED": "name the authority that signed its certificate with ssl_ca_certs",
    "CERTIFICATE_REQUIRED": "it asks for our certificate: give ssl_certfile and ssl_keyfile",
    "HANDSHAKE_FAILURE": "it may ask for our certificate: give ssl_certfile and ssl_keyfile",
    "KEY_VALUES_MISMATCH": "ssl_keyfile is not the key of ssl_certfile",
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port: another port, or redis:// in place of rediss://",
    "UNEXPECTED_EOF": "it does not speak TLS at this port: another port, or redis:// in place of rediss://",
}
