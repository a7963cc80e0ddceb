"""`--store` of a coordinator: each URL opens its store; wrong ones are the proxy's to refuse, in the same words."""

from __future__ import annotations

import pytest

from coordinator.stores.memory import MemoryRunStore
from coordinator.stores.open import open_run_store
from coordinator.stores.redis import RedisRunStore
from coordinator.stores.sqlite import SqliteRunStore
from ledger.stores.open import BadStoreUrl


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryRunStore),
        ("sqlite:///var/lib/holdfast/coordinator.db", SqliteRunStore),
        ("redis://localhost:6379/0", RedisRunStore),
        ("rediss://user:secret@redis.example:6380/1", RedisRunStore),
        ("unix:///run/redis.sock?db=1", RedisRunStore),
        ("redis+sentinel://user:secret@a:26379,b/runs/1?sentinel_password=secret", RedisRunStore),
        ("redis+cluster://a:7000,b:7000", RedisRunStore),
    ],
)
def test_url_opens_its_store(url: str, kind: type) -> None:
    """The scheme says which store; nothing is connected or created before `start`."""
    assert isinstance(open_run_store(url), kind)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no scheme"),
        ("postgres://user:secret@db/x", "does not know postgres://"),
        ("redis+cluster://:secret@a/x", "a cluster has one database"),
        ("sqlite://coordinator.db", "three slashes"),
        ("memory://somewhere", "memory:// alone"),
    ],
)
def test_wrong_url_is_refused_with_flag_and_remedy(url: str, words: str) -> None:
    """The message names `--store`, what is wrong and what to give instead; never a password."""
    with pytest.raises(BadStoreUrl, match=words) as refusal:
        open_run_store(url)
    assert "--store" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_password_file_is_for_stores_that_have_passwords() -> None:
    """A flag that would do nothing is refused."""
    assert isinstance(open_run_store("redis://h", password_file="/run/pw"), RedisRunStore)
    with pytest.raises(BadStoreUrl, match="no password"):
        open_run_store("memory://", password_file="/run/pw")
