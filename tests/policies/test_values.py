"""The values that only policies have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.loader import Loaded

Faults = Callable[[str], list[tuple[int, int, str, str]]]
Tool = Callable[[str], Loaded]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("tools:9000", "does not start with http:// or https://"),
        ("ftp://tools", "does not start with http:// or https://"),
        ("http://", "does not start with http:// or https://"),
        ("http://user:secret@tools", "a user or password in an address ends up in logs"),
        ("http://tools/", "an upstream has no path, query or fragment"),
        ("http://tools/v1", "an upstream has no path, query or fragment"),
        ("http://tools?", "an upstream has no path, query or fragment"),
        ("http://tools?a=b", "an upstream has no path, query or fragment"),
        ('"http://tools#f"', "an upstream has no path, query or fragment"),
        ("http://tools:0", "is not a host with an optional port"),
        ("http://tools:", "is not a host with an optional port"),
        ("http://tools:99999", "is not an address: Port out of range"),
        ("http://tools:80:81", "is not an address"),
        ("http://to ols", "has characters that no address has"),
        ("http://tööls", "has characters that no address has"),
        ('"http://[::1"', "is not an address"),
        ('"http://to\\nols"', "has characters that no address has"),
        ("http://-tools", "is not a host"),
    ],
)
def test_upstream_that_is_more_or_less_than_an_address_is_refused(faults: Faults, url: str, why: str) -> None:
    """Scheme, host and port: the path comes from the request, and secrets have no place in an address."""
    ((line, column, field, said),) = faults(
        f"upstream: {{url: {url}}}" if '"' not in url else f"upstream:\n  url: {url}"
    )
    assert (line, field) == (1 + ('"' in url), "upstream.url")
    assert column > 1
    assert why in said
    assert said.endswith("Write it like http://tools:9000.")


@pytest.mark.parametrize(
    "url", ["http://tools", "https://tools.example:8443", "http://127.0.0.1:9000", '"http://[::1]:9000"', "http://a."]
)
def test_upstream_that_is_an_address_is_taken(tool: Tool, url: str) -> None:
    """Names, IPv4 and bracketed IPv6, with a port or without."""
    policy = tool(f"upstream:\n  url: {url}").policies.of_tool("t")
    assert policy is not None
    assert policy.upstream.url == url.strip('"')


@pytest.mark.parametrize(
    ("lines", "field", "why"),
    [
        ("match: {method: post}", "match.method", "'post' is not a method; they are written in capitals"),
        ("match: {method: [POST, TRACE]}", "match.method[1]", "TRACE is refused before any policy is looked at"),
        ("match: {method: []}", "match.method", "a list of 0"),
        ("match: {path: tools/t}", "match.path", "a path starts with /"),
        ('match: {path: "/t?x=1"}', "match.path", "'?' has no place in a path that is matched"),
        ("match: {path: /t*}", "match.path", "* stands for one whole segment"),
        (
            "key: {from: [header:X-Run-Id]}",
            "key.from[0]",
            "text where a list is expected. Write a list of sources, each a list",
        ),
        ("key: {from: header:X-Run-Id}", "key.from", "text where a list is expected"),
        ("key: {from: []}", "key.from", "a list of 0"),
        ("key: {from: [[]]}", "key.from[0]", "a list of 0"),
        ("key: {from: [[header:X_Run_Id]]}", "key.from[0][0]", "has an underscore"),
        ("key: {from: [[header:Connection]]}", "key.from[0][0]", "belongs to one connection"),
        (
            "key: {from: [[header:A], [value:x]]}",
            "key.from[1]",
            "a source of constants alone makes every call the same call",
        ),
        (
            "key: {tenant: body:/tenant}",
            "key.tenant",
            "body: cannot be used here. Write header:X-Name or value:constant.",
        ),
        ("key: {principal: value:me}", "key.principal", "value: cannot be used here. Write header:X-Name."),
        ("fingerprint: {ignore: [header:Date]}", "fingerprint.ignore[0]", "header: cannot be used here"),
        ("result: {final: 2xx}", "result.final", "text where a list is expected"),
        ("result: {final: [2xx, 1xx, 99]}", "result.final[1]", "'1xx' is neither a status"),
        ("result: {final: [2xx, [404]]}", "result.final[1]", "a list where a status is expected"),
        ("result: {failedIf: [body:/isError == True]}", "result.failedIf[0]", "'True' is not a JSON value"),
        ("result: {failedIf: [header:X == 1]}", "result.failedIf[0]", "looks into the JSON body of the reply"),
    ],
)
def test_value_that_makes_no_sense_is_told_with_its_field(faults: Faults, lines: str, field: str, why: str) -> None:
    """Each with the path down to the item."""
    told = {found[2]: found[3] for found in faults(lines)}
    assert why in told[field]


@pytest.mark.parametrize("name", ["a b", "a/b", ".", "..", "_unmatched", "é", '""', "x" * 65])
def test_tool_name_that_cannot_be_a_label_is_refused(load: Callable[..., Loaded], faults: Faults, name: str) -> None:
    """A tool's name is a path segment, a part of keys and a label; `_unmatched` is taken."""
    with pytest.raises(Exception, match=r"a\.yaml:3:7: tool: "):
        load(a=f"apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: {name}\n")


def test_values_arrive_in_the_model(tool: Tool) -> None:
    """Each kind of value, all the way."""
    policy = tool(
        """
        match: {method: [PUT, POST], path: /v1/*/tickets/**}
        key: {from: [[header:X-Run-Id, body:/call], [header:Idempotency-Key]], tenant: value:acme, principal: null}
        fingerprint: {ignore: [body:/a~1b]}
        result: {final: [2xx, 404, 408], notFinal: [], failedIf: ['body:/status == "failed"'], maxBody: 0B}
        """
    ).policies.policies[0]
    assert policy.match.methods == {"PUT", "POST"}
    assert [[str(part) for part in source] for source in policy.key.sources] == [
        ["header:X-Run-Id", "body:/call"],
        ["header:Idempotency-Key"],
    ]
    assert (str(policy.key.tenant), policy.key.principal) == ("value:acme", None)
    assert policy.fingerprint.ignore[0].argument == "/a~1b"
    assert policy.result.final == frozenset(range(200, 300)) | {404, 408}
    assert policy.result.not_final == frozenset()
    assert policy.result.failed_if[0].literal == "failed"
    assert policy.result.body_bytes_max == 0
