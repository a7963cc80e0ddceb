"""What Redis says, in our words: the same whichever version says it."""

from __future__ import annotations

import pytest
import redis.exceptions

from ledger.stores.redis_errors import ErrorReply, unavailable, unreachable


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 8a4, on @user_script:5.", "OOM"),
        ("ERR Error running script (call to f_8a4): @user_script:5: -OOM command not allowed when used memory", "OOM"),
        ("READONLY You can't write against a read only replica. script: 8a4, on @user_script:5.", "READONLY"),
        ("ERR Error running script (call to f_8a4): @user_script:5: WRONGTYPE Operation against a key", "WRONGTYPE"),
        ("ERR Error running script: The user executing the script can't run this command or subcommand", "NOPERM"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", "MISCONF"),
        ("ERR something new", "ERR"),
    ],
)
def test_code_is_found_wherever_the_version_puts_it(text: str, code: str) -> None:
    """Redis 6.2 wraps a script's error in its own, 7 does not; an error nobody has heard of is still told whole."""
    reply = ErrorReply(text)
    assert reply.code == code
    assert text in str(unavailable(reply, "db:6379"))
    assert str(unavailable(reply, "db:6379")).startswith("redis at db:6379 ")


def test_failure_to_connect_names_its_deepest_cause() -> None:
    """redis-py wraps what happened, up to twice; a person reads what happened."""
    wrapped = redis.exceptions.ConnectionError("Error connecting")
    wrapped.__cause__ = redis.exceptions.AuthenticationError("WRONGPASS invalid username-password pair")
    assert "refuses the user name or the password" in str(unreachable(wrapped, "db:6379"))
    assert "in time" in str(unreachable(redis.exceptions.TimeoutError("Timeout connecting"), "db:6379"))
    assert "in time" in str(unreachable(TimeoutError(), "db:6379"))
    assert "cannot be reached (Connection refused)" in str(unreachable(OSError("Connection refused"), "db:6379"))
