"""`--store`: each URL opens its store, and a wrong one is answered with the flag and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.store import UnfitStore, Written
from ledger.stores.memory import MemoryStore
from ledger.stores.open import BadStoreUrl, open_store
from ledger.stores.redis import RedisStore
from ledger.stores.redis_cluster import RedisClusterStore
from ledger.stores.sqlite import SqliteStore
from tests.ledger.store_bench import a_ref, a_write


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("sqlite:///var/lib/holdfast/ledger.db", SqliteStore),
        ("SQLITE:///var/lib/holdfast/ledger.db", SqliteStore),
        ("redis://localhost:6379/0", RedisStore),
        ("rediss://user:secret@redis.example:6380/1", RedisStore),
        ("redis://[::1]:6379?password_file=/run/secrets/redis", RedisStore),
        ("unix:///run/redis.sock?db=1", RedisStore),
        ("unix://user:secret@/run/redis.sock", RedisStore),
        ("redis+sentinel://user:secret@a:26379,b/ledger/1?sentinel_password=secret", RedisStore),
        ("rediss+sentinel://a,b,c/ledger?ssl_ca_certs=/etc/ca.pem", RedisStore),
        ("redis+cluster://a:7000,b:7000", RedisClusterStore),
        ("rediss+cluster://user:secret@a?ssl_certfile=/etc/c.pem&ssl_keyfile=/etc/k.pem", RedisClusterStore),
    ],
)
def test_url_opens_its_store(url: str, kind: type) -> None:
    """The scheme says which store; nothing is connected or created before `start`."""
    assert isinstance(open_store(url), kind)


async def test_sqlite_url_names_the_file(tmp_path: Path) -> None:
    """The path is the URL's, percent-decoded; the store that was opened works there."""
    store = open_store(f"sqlite://{tmp_path}/a%20ledger%3F.db")
    await store.start()
    assert await store.swap(a_ref(), None, a_write()) == Written()
    await store.close()
    assert (tmp_path / "a ledger?.db").exists()


async def test_four_slashes_name_the_same_file(tmp_path: Path) -> None:
    """Other programs write absolute SQLite paths with four; it is no other file, and no other owner."""
    first, second = open_store(f"sqlite://{tmp_path}/ledger.db"), open_store(f"sqlite:///{tmp_path}/ledger.db")
    await first.start()
    with pytest.raises(UnfitStore, match=f"the ledger {tmp_path}/ledger.db belongs to"):
        await second.start()
    await first.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no scheme"),
        ("/var/lib/ledger.db", "no scheme"),
        ("postgres://user:secret@db/x", "does not know postgres://"),
        ("redis+sentinel://user:secret@a,b", "name under which the Sentinels know the primary is missing"),
        ("redis+sentinel://user:secret@a,b/x/y", "the database is a number"),
        ("redis+cluster://:secret@a/x", "a cluster has one database"),
        ("redis+cluster://:secret@a/0?sentinel_password=secret", "belong to redis+sentinel://"),
        ("redis://:secret@a,b/0", "several servers"),
        ("redis://:secret@a/prod", "the database is a number"),
        ("redis://:secret@a:b/0", "a host or a port that is none"),
        ("redis://:secret@a/0?ssl_ca_certs=/etc/ca.pem", "need rediss"),
        ("rediss://:secret@a/0?ssl_keyfile=/etc/key.pem", "give ssl_certfile, too"),
        ("rediss://:secret@a/0?ssl_check_hostname=perhaps", "is true or false"),
        ("redis://:secret@a/0?retry_on_timeout=yes", "the option 'retry_on_timeout' is not known"),
        ("redis://:secret@a/0?db=1&db=2", "given once"),
        ("redis://:secret@a/0?password_file=/run/secret-file", "give one of them"),
        ("redis://:secret@a/0#x", "write a # in a password as %23"),
        ("unix://:secret@redis.sock", "absolute path"),
        ("memory://somewhere", "memory:// alone"),
        ("sqlite://ledger.db", "three slashes"),
        ("sqlite:ledger.db", "three slashes"),
        ("sqlite:", "three slashes"),
        ("sqlite:///var/lib/ledger.db?mode=ro", "no options"),
        ("sqlite:///var/lib/ledger.db#x", "no options"),
        ("sqlite:///var/lib/", "not a folder"),
        ("sqlite:///var/lib/a%00b", "not a folder"),
        ("http://[::1", "not a URL"),
    ],
)
def test_wrong_url_is_refused_with_flag_and_remedy(url: str, words: str) -> None:
    """The message names `--store`, what is wrong and what to give instead; never a password."""
    with pytest.raises(BadStoreUrl) as refusal:
        open_store(url)
    message = str(refusal.value)
    assert words in message
    assert "--store" in message
    assert "sqlite:///PATH" in message
    assert "secret" not in message


def test_password_file_is_for_stores_that_have_passwords() -> None:
    """A flag that would do nothing is refused; beside a password in the URL, nobody could say which is meant."""
    assert isinstance(open_store("redis://h", password_file="/run/pw"), RedisStore)
    for url in ("memory://", "sqlite:///var/lib/ledger.db", "redis://:secret@h"):
        with pytest.raises(BadStoreUrl) as refusal:
            open_store(url, password_file="/run/pw")
        assert "secret" not in str(refusal.value)
