"""The scripted tool behind the forward's port."""

from __future__ import annotations

from policies.cases import Reply
from proxy.forward import Lost, NotSent, Origin, Outbound, Outcome, Replied
from proxy.rehearsal.stage import wall_ms
from proxy.rehearsal.tool import ScriptedTool
from proxy.rehearsal.virtual import run

ORIGIN = Origin("http", "tools", 9000)


def outbound(method: bytes = b"POST", target: bytes = b"/t", keep: int = 1_000) -> Outbound:
    """Return a request."""
    headers = ((b"Holdfast-Operation", b"op_1"),) if method == b"POST" else ()
    return Outbound(ORIGIN, method, target, headers, b"{}", keep_bytes_max=keep)


def asked(tool: ScriptedTool, *requests: Outbound) -> list[Outcome]:
    """Send requests, one after the other."""

    async def story() -> list[Outcome]:
        return [await tool(request) for request in requests]

    return run(story())


def test_replies_come_in_order_and_the_last_is_repeated() -> None:
    """What did not reach the tool is no call."""
    tool = ScriptedTool([Reply(fails="not-sent"), Reply(fails="lost"), Reply(201)], [Reply()], [], wall_ms)
    found = asked(tool, *[outbound()] * 4)
    assert isinstance(found[0], NotSent)
    assert isinstance(found[1], Lost)
    assert [one.status for one in found[2:] if isinstance(one, Replied)] == [201, 201]
    assert len(tool.calls) == 3


def test_get_that_no_caller_asked_for_is_a_probe() -> None:
    """It has a script of its own, in which the newest call's operation can be named."""
    tool = ScriptedTool([Reply(201)], [Reply(body=b'{"ref": "{operation}", "at": "{time}"}')], [("GET", "/r")], wall_ms)
    _, probe, read = asked(tool, outbound(), outbound(b"GET", b"/p"), outbound(b"GET", b"/r"))
    assert isinstance(probe, Replied)
    assert isinstance(read, Replied)
    assert probe.body == b'{"ref": "op_1", "at": "2023-11-14T22:30:00+00:00"}'
    assert (read.status, len(tool.calls), len(tool.probed)) == (201, 2, 1)


def test_reply_that_is_not_to_be_kept_is_a_stream() -> None:
    """Above what the request says, or because the script says so."""
    large = ScriptedTool([Reply(body=b"x" * 2_000)], [Reply()], [], wall_ms)
    event = ScriptedTool([Reply(body=b"data: x", streams=True)], [Reply()], [], wall_ms)
    for tool, framing in ((large, "length"), (event, "chunked")):
        (found,) = asked(tool, outbound())
        assert isinstance(found, Replied)
        assert found.stream is not None
        assert found.framing == framing
