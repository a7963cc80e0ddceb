"""What was provably not sent, and why: each phase fails in its own way."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import trustme

from proxy.forward import Lost, NotSent, Origin, Outcome, Replied
from proxy.upstream.connection import Connection
from proxy.upstream.dial import dial, tls_context
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import OK, Wire, ends_after, replies, request

pytestmark = [pytest.mark.loops("asyncio", "uvloop"), pytest.mark.fault(19)]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority of the test's own."""
    return trustme.CA()


@pytest.fixture
async def secure(authority: trustme.CA, tool: StartTool) -> AsyncIterator[Upstream]:
    """A forward that trusts the test's authority, and no other."""

    def context() -> ssl.SSLContext:
        trusting = tls_context()
        authority.configure_trust(trusting)
        return trusting

    forward = Upstream(context)
    yield forward
    await forward.close()


def serving(authority: trustme.CA, *names: str, not_after: dt.datetime | None = None) -> ssl.SSLContext:
    """Return a tool's context with a certificate for `names`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


@pytest.fixture
def full() -> Iterator[Origin]:
    """A tool that is too busy to accept: its backlog is full, so a further connect is not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        waiting = []
        for _ in range(4):
            knock = socket.socket()
            knock.setblocking(False)
            knock.connect_ex(listening.getsockname())
            waiting.append(knock)
        yield Origin("http", *listening.getsockname())
        for knock in waiting:
            knock.close()


async def not_sent(call: Upstream, origin: Origin, connect_ms: int = 2_000) -> NotSent:
    """Forward to `origin`, expecting that nothing was sent."""
    sent = 0

    def on_sent() -> None:
        nonlocal sent
        sent += 1

    outcome: Outcome = await call(request(origin, b"POST", body=b"x", connect_ms=connect_ms), on_sent=on_sent)
    assert isinstance(outcome, NotSent)
    assert sent == 0
    assert call.stats.open == 0
    return outcome


@pytest.mark.parametrize("host", ["tool.invalid", "x" * 64 + ".example", "a..b"])
async def test_a_name_that_does_not_resolve_is_not_sent(upstream: Upstream, host: str) -> None:
    """NXDOMAIN, and names that are none."""
    outcome = await not_sent(upstream, Origin("http", host, 80))
    assert (outcome.phase, outcome.timed_out) == ("resolve", False)
    assert outcome.why


async def test_a_refused_connection_is_not_sent(upstream: Upstream) -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        origin = Origin("http", *listening.getsockname())
    outcome = await not_sent(upstream, origin)
    assert (outcome.phase, outcome.timed_out) == ("connect", False)


async def test_a_connect_that_takes_too_long_is_not_sent_and_timed_out(upstream: Upstream, full: Origin) -> None:
    """A black hole costs `connect_ms` and no more."""
    outcome = await not_sent(upstream, full, connect_ms=100)
    assert (outcome.phase, outcome.timed_out) == ("connect", True)


async def test_cancelling_while_dialling_leaves_nothing_open(upstream: Upstream, full: Origin) -> None:
    """The fixture counts the sockets."""
    call = asyncio.create_task(upstream(request(full)))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def resolve_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name have these addresses."""

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_addresses_are_tried_in_order_until_one_lets_us(
    upstream: Upstream, tool: StartTool, full: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused one costs nothing, a silent one its share of the deadline, and those after the first that answers are
    not asked."""
    hostile, _ = await tool(replies(OK), host="127.0.0.3", port=full.port)
    after, _ = await tool(replies(OK), host="127.0.0.4", port=full.port)
    resolve_to(monkeypatch, "127.0.0.2", full.host, "127.0.0.3", "127.0.0.4")
    outcome = await upstream(request(Origin("http", "tool.example", full.port), connect_ms=1_000))
    assert isinstance(outcome, Replied)
    assert (hostile.connections, after.connections) == (1, 0)


async def test_a_name_of_which_no_address_lets_us_is_not_sent(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last failure is the one that is told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.3")
    assert (await not_sent(upstream, Origin("http", "tool.example", port))).phase == "connect"
    resolve_to(monkeypatch)
    assert (await not_sent(upstream, Origin("http", "tool.example", port))).phase == "resolve"


async def test_a_resolver_that_takes_too_long_is_not_sent_and_timed_out(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline of dialling covers it."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    outcome = await not_sent(upstream, Origin("http", "tool.example", 80), connect_ms=50)
    assert (outcome.phase, outcome.timed_out) == ("resolve", True)


async def test_a_tool_on_ipv6_is_reached_by_its_address(upstream: Upstream, tool: StartTool) -> None:
    """`host` has no brackets."""
    _, origin = await tool(replies(OK), host="::1")
    assert isinstance(await upstream(request(origin)), Replied)


async def test_a_name_is_resolved_and_reached(upstream: Upstream, tool: StartTool) -> None:
    """Through the event loop's resolver."""
    _, origin = await tool(replies(OK))
    assert isinstance(await upstream(request(Origin("http", "localhost", origin.port))), Replied)


async def test_https_is_spoken_and_its_connections_are_kept(
    secure: Upstream, tool: StartTool, authority: trustme.CA
) -> None:
    """Verified, with HTTP/1.1 by ALPN although the tool would rather speak h2, and reused."""
    spoken: list[str | None] = []

    async def script(wire: Wire) -> None:
        spoken.append(wire.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await replies(OK, OK, OK)(wire)

    _, origin = await tool(script, tls=serving(authority, "localhost"))
    origin = Origin("https", "localhost", origin.port)
    for _ in range(3):
        assert isinstance(await secure(request(origin, b"POST", body=b"x" * 100_000)), Replied)
        await asyncio.sleep(0.02)  # session tickets that come later would cost a dial
    assert spoken == ["http/1.1"]
    assert secure.stats.dials == 1


async def test_an_absolute_name_is_verified_without_its_dot(
    secure: Upstream, tool: StartTool, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tool.example.` spares a resolver its search list; no certificate names it so."""
    _, origin = await tool(replies(OK), tls=serving(authority, "tool.example"))
    resolve_to(monkeypatch, "127.0.0.1")
    assert isinstance(await secure(request(Origin("https", "tool.example.", origin.port))), Replied)


async def test_an_address_is_verified_as_an_address(secure: Upstream, tool: StartTool, authority: trustme.CA) -> None:
    """RFC 9110, 4.3.5: by an iPAddress name in the certificate."""
    _, origin = await tool(replies(OK), tls=serving(authority, "127.0.0.1"))
    assert isinstance(await secure(request(origin)), Replied)


async def test_a_certificate_that_does_not_verify_is_not_sent(
    secure: Upstream, upstream: Upstream, tool: StartTool, authority: trustme.CA
) -> None:
    """Another name, another authority, out of date: the tool never sees the request."""
    then = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    elsewhere, origin = await tool(replies(OK), tls=serving(authority, "elsewhere.example"))
    outdated, origin_outdated = await tool(replies(OK), tls=serving(authority, "127.0.0.1", not_after=then))
    foreign, origin_foreign = await tool(replies(OK), tls=serving(authority, "127.0.0.1"))
    for call, where in ((secure, origin), (secure, origin_outdated), (upstream, origin_foreign)):
        outcome = await not_sent(call, where)
        assert (outcome.phase, outcome.timed_out) == ("tls", False)
        assert "certificate" in outcome.why
    assert not elsewhere.seen + outdated.seen + foreign.seen


async def test_a_tool_that_does_not_speak_tls_is_not_sent(secure: Upstream, tool: StartTool) -> None:
    """Plain HTTP, or an end in place of a handshake."""

    async def plain(wire: Wire) -> None:
        await wire.reader.read(10)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def closes(wire: Wire) -> None:
        await wire.reader.read(10)

    _, origin = await tool(plain, closes)
    for _ in range(2):
        outcome = await not_sent(secure, Origin("https", "127.0.0.1", origin.port))
        assert (outcome.phase, outcome.timed_out) == ("tls", False)


async def test_a_connection_that_ends_before_the_handshake_is_not_sent_at_once(
    upstream: Upstream, tool: StartTool
) -> None:
    """Nobody waits for a handshake that cannot come."""

    class Doomed(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast("asyncio.Transport", transport).abort()

    _, origin = await tool(replies(OK))
    origin = Origin("https", origin.host, origin.port)
    outcome = await dial(origin, 2_000, lambda: Doomed(origin, upstream, asyncio.get_running_loop()), tls_context)
    assert isinstance(outcome, NotSent)
    assert (outcome.phase, outcome.timed_out) == ("tls", False)


async def test_a_handshake_that_takes_too_long_is_not_sent_and_timed_out(secure: Upstream, tool: StartTool) -> None:
    """The deadline of dialling covers it."""

    async def silent(wire: Wire) -> None:
        await wire.hung_up()

    _, origin = await tool(silent)
    outcome = await not_sent(secure, Origin("https", "127.0.0.1", origin.port), connect_ms=100)
    assert (outcome.phase, outcome.timed_out) == ("tls", True)


async def test_tls_that_ends_without_saying_so_is_no_end_of_a_reply(
    secure: Upstream, tool: StartTool, authority: trustme.CA
) -> None:
    """Close-delimited over TLS: whole with a close_notify, lost without; anybody on the way can cut a connection."""

    async def cut(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        wire.writer.transport.abort()

    whole = ends_after(b"HTTP/1.1 200 OK\r\n\r\nhello")
    _, origin = await tool(whole, cut, tls=serving(authority, "127.0.0.1"))
    outcome = await secure(request(origin))
    assert isinstance(outcome, Replied)
    assert (outcome.body, outcome.framing) == (b"hello", "close")
    assert isinstance(await secure(request(origin)), Lost)


EXHAUSTED = """
import asyncio, os, resource, sys, uvloop
from proxy.forward import NotSent, Origin, Replied
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.hostile import OK, Tool, replies, request

async def main():
    tool = Tool(replies(OK, OK), replies(OK))
    origin = await tool.start()
    upstream = Upstream()
    assert isinstance(await upstream(request(origin)), Replied)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    hoard = []
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    idle, *refused = [await upstream(request(Origin("http", host, origin.port))) for host in
                      ("127.0.0.1", "127.0.0.2", "localhost")]
    assert isinstance(idle, Replied), idle
    assert all(isinstance(outcome, NotSent) for outcome in refused), refused
    assert "open files" in refused[0].why.lower(), refused
    for descriptor in hoard:
        os.close(descriptor)
    recovered = await upstream(request(Origin("http", "localhost", origin.port)))
    assert isinstance(recovered, Replied), recovered
    await upstream.close()
    await tool.stop()

factory = uvloop.new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
asyncio.Runner(loop_factory=factory).run(main())
"""


@pytest.mark.fault(59)
@pytest.mark.loops("uvloop")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_out_of_descriptors_sends_over_what_it_has_and_recovers(loop: str) -> None:
    """Idle connections go on; a dial is not sent; with descriptors back, so are the tools."""
    command = [sys.executable, "-c", EXHAUSTED, loop]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
