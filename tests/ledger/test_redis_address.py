"""Store URLs, and logging in."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from pathlib import Path

import pytest
import trustme

from ledger.store import StoreUnavailable, Written
from ledger.stores.redis import RedisStore
from ledger.stores.redis_address import Login
from ledger.stores.redis_url import Credentials
from tests.ledger.redis_bench import both_loops, store_on
from tests.ledger.redis_relay import relay_to
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write


@pytest.mark.fault(49)
@pytest.mark.parametrize(("login", "words"), [("", "asks for a password"), (":wrong@", "refuses the user name or the")])
async def test_wrong_password_is_unavailable_in_words_that_say_so(redis: RedisServer, login: str, words: str) -> None:
    """An operator reads what is wrong, and never the password."""
    redis.ask("CONFIG", "SET", "requirepass", "right")
    store = RedisStore(f"unix://{login}{redis.path}")
    with pytest.raises(StoreUnavailable, match=words) as refused:
        await store.start()
    assert "wrong@" not in str(refused.value)
    redis.ask("CONFIG", "SET", "requirepass", "wrong" if login else "", password="right")
    await store.start()
    assert await store.swap(a_ref(), None, a_write()) == Written()
    await store.close()


@both_loops
@pytest.mark.fault(38)
async def test_login_that_is_cancelled_at_any_moment_is_cancelled(redis: RedisServer) -> None:
    """Also as its last command is being sent, where redis-py loses it: a store that is closed then waits for its links
    to end."""
    redis.ask("CONFIG", "SET", "requirepass", "right")
    login = Login(Credentials(password="right"), None, 30.0)
    ended = False
    moments = itertools.count()
    while not ended:
        logging_in = asyncio.ensure_future(login.to(redis.path))
        for _ in range(next(moments)):
            await asyncio.sleep(0)
        ended = logging_in.done()
        logging_in.cancel()
        await asyncio.wait([logging_in])
        if not logging_in.cancelled():
            await logging_in.result().close()
        assert logging_in.cancelled() is not ended
    redis.ask("CONFIG", "SET", "requirepass", "", password="right")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "redis://:s3cret@127.0.0.1:6379?nonsense=1", "redis://:s3cret@h:x"]
)
def test_url_without_sense_is_refused_without_its_password(url: str) -> None:
    """A store's URL is checked where it is given; messages end up in logs."""
    with pytest.raises(ValueError) as refused:
        RedisStore(url)
    assert "s3cret" not in str(refused.value)


@both_loops
async def test_tls_connection_is_handed_over_like_any_other(redis: RedisServer, tmp_path: Path) -> None:
    """The handshake is redis-py's, the bytes are ours: claims, large results and lost replies work through TLS."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with relay_to(redis.path, _server_side(authority)) as relay:
        url = f"rediss://127.0.0.1:{relay.port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
        async with store_on(url) as store:
            claim = a_write()
            assert await store.swap(a_ref(), None, claim) == Written()
            relay.cuts = 1
            done = a_write("completed", result=b"x" * 1_000_000)
            assert await store.swap(a_ref(), claim.version, done) == Written()
            standing = await store.watch(a_ref())
            assert standing is not None
            assert standing.result == b"x" * 1_000_000
            assert relay.opened == 3


@pytest.mark.fault(49)
async def test_certificate_that_is_not_trusted_is_unavailable(redis: RedisServer) -> None:
    """TLS that fails is told as such, and nothing is sent."""
    async with relay_to(redis.path, _server_side(trustme.CA())) as relay:
        with pytest.raises(StoreUnavailable, match="TLS failed.*certificate"):
            await RedisStore(f"rediss://127.0.0.1:{relay.port}").start()
        assert relay.sent == b""


def _server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_handshake_that_leaves_bytes_unread_is_no_connection(redis: RedisServer) -> None:
    """Bytes that nobody asked for would put every later reply out of step, so such a connection is not taken over."""
    async with relay_to(redis.path) as relay:
        relay.surplus = b":1\r\n"
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await RedisStore(f"redis://127.0.0.1:{relay.port}/1").start()
