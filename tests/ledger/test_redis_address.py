"""Store URLs, and logging in."""

from __future__ import annotations

import pytest

from ledger.store import StoreUnavailable, Written
from ledger.stores.redis import RedisStore
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


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "redis://:s3cret@127.0.0.1:6379?nonsense=1", "redis://:s3cret@h:x"]
)
def test_url_without_sense_is_refused_without_its_password(url: str) -> None:
    """A store's URL is checked where it is given; messages end up in logs."""
    with pytest.raises(ValueError) as refused:
        RedisStore(url)
    assert "s3cret" not in str(refused.value)
