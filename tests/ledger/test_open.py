"""`--store`: each URL opens its store, and a wrong one is answered with the flag and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.store import UnfitStore, Written
from ledger.stores.memory import MemoryStore
from ledger.stores.open import BadStoreUrl, open_store
from ledger.stores.redis import RedisStore
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
        ("redis+sentinel://user:secret@a,b/x", "does not know redis+sentinel://"),
        ("redis+cluster://:secret@a/x", "does not know redis+cluster://"),
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
