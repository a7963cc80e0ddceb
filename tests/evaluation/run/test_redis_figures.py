"""What a Redis tells of itself, read without a client library."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from evaluation.address import Address, unused_address
from evaluation.run.redis_figures import counted, pongs, requests
from tests.redis_server import redis_server


def test_requests_are_found_in_what_it_tells() -> None:
    """A server that does not count them has none."""
    assert counted(b"# Stats\r\ntotal_commands_processed:7\r\ntotal_reads_processed:12\r\n") == 12
    assert counted(b"# Stats\r\n") == 0


async def test_redis_is_asked_how_often_it_was_asked(tmp_path: Path) -> None:
    """A script is one request, however much it does; nobody answers where nobody listens."""
    with redis_server(tmp_path) as port, Redis(port=port) as client:
        address = Address("127.0.0.1", port)
        assert await pongs(address)
        client.ping()
        before = await requests(address)
        for _ in range(5):
            client.eval("for i = 1, 100 do redis.call('set', 'a', i) end", 0)
        assert 6 <= await requests(address) - before <= 8
    assert not await pongs(unused_address())
