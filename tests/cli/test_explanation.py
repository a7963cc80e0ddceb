"""What would happen to a request, held against what the data port's own functions do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.explanation import explain
from cli.request import from_flags
from ledger.key import Key, operation_id
from policies.loader import Loaded, load_folder

ROOT = Path(__file__).parents[2]
IDS = ("X-Run-Id: run_31f7", "X-Tool-Call-Id: call_A1")


@pytest.fixture
def shipped() -> Loaded:
    """The policies that we ship."""
    return load_folder(ROOT / "policies")


def told(
    loaded: Loaded, path: str, *headers: str, method: str = "POST", body: str = "{}"
) -> dict[tuple[str, str], tuple[Any, str]]:
    """Explain a request; return value and source by topic and name."""
    lines = explain(loaded, from_flags(method, path, headers, body))
    return {(line.topic, line.name): (line.value, line.source) for line in lines}


def write(folder: Path, lines: str, kind: str = "ToolPolicy") -> Loaded:
    """Load one document."""
    (folder / "a.yaml").write_text(f"apiVersion: holdfast.dev/v1\nkind: {kind}\n{lines}\n")
    return load_folder(folder)


def test_write_call_shows_its_identity(shipped: Loaded) -> None:
    """The operation id is the one that the proxy will put into its answer."""
    found = told(shipped, "/tools/create_ticket", *IDS)
    key = Key("-", "create_ticket", "header:x-run-id header:x-tool-call-id", ("run_31f7", "call_A1"))
    assert found["identity", "operation"][0] == operation_id(key)
    assert found["identity", "key"] == (["run_31f7", "call_A1"], key.source)
    assert found["policy", "tool"][1].endswith("create_ticket.yaml:7")


def test_fingerprint_shows_what_it_is_over(shipped: Loaded) -> None:
    """Key order and ignored fields do not change it; a principal or another body does."""
    one = told(shipped, "/tools/create_ticket", *IDS, body='{"a":1,"metadata":{"sent_at":1}}')[
        "identity", "fingerprint"
    ]
    same = told(shipped, "/tools/create_ticket", *IDS, body='{"metadata": {"sent_at":2}, "a": 1}')[
        "identity", "fingerprint"
    ]
    other = told(shipped, "/tools/create_ticket", *IDS, body='{"a":2}')["identity", "fingerprint"]
    principal = told(shipped, "/tools/create_ticket", *IDS, "Authorization: Bearer x", body='{"a":1}')
    raw = told(shipped, "/tools/create_ticket", *IDS, "Content-Type: text/plain", body='{"a":1}')
    assert one == same
    assert one[0] != other[0]
    assert one[1] == "over method, target and the body as canonical JSON (RFC 8785)"
    assert "header:Authorization" in principal["identity", "fingerprint"][1]
    assert raw["identity", "fingerprint"][1].endswith("the body byte for byte")


def test_duplicate_and_time_out_are_told_in_the_policys_own_times(shipped: Loaded) -> None:
    """What a person asks first: what happens if it is sent again, and if it takes too long?"""
    found = told(shipped, "/tools/refund_payment", *IDS)
    assert found["answer", "duplicate in flight"][0] == "waits up to 60s for the same reply, then 409 in-flight"
    assert found["answer", "time-out"][0] == "504 outcome-unknown after 2m; a reply is awaited for 30m more"
    assert found["answer", "tool not reached"][0] == "502 or 504 not-sent; the key is free again"
    assert "2 tries, then" in told(shipped, "/tools/create_ticket", *IDS)["answer", "tool not reached"][0]


def test_every_field_says_where_it_comes_from(shipped: Loaded) -> None:
    """The file and line, or `built in`."""
    found = told(shipped, "/tools/create_ticket", *IDS)
    assert found["field", "timeouts.upstream"][0] == "90s"
    assert found["field", "timeouts.upstream"][1].endswith("create_ticket.yaml:38")
    assert found["field", "storeDown"] == ("refuse", "built in")


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        (
            "/tools/create_ticket",
            (),
            "400 key-missing: it has no identity; send header:X-Run-Id and header:X-Tool-Call-Id, or",
        ),
        ("/tools/create_ticket", (*IDS, "X-Run-Id: b"), "400 bad-request: header 'x-run-id' appears twice"),
        ("/tools/create_ticket", ("X-Run-Id: " + "x" * 300,), "400 bad-request: header 'x-run-id' is longer than"),
        ("/tools/search_kb", (), "forwarded as often as it is asked"),
        ("/elsewhere", (), "400 key-missing"),
    ],
)
def test_request_that_is_not_guarded_says_why(shipped: Loaded, path: str, headers: tuple[str, ...], said: str) -> None:
    """Refused, or passed on: one line, in place of an identity."""
    found = told(shipped, path, *headers)
    assert found["answer", "always"][0].startswith(said)
    assert not [topic for topic, _ in found if topic == "identity"]


def test_exemptions_of_a_policy_are_told(tmp_path: Path) -> None:
    """What leaves a write unprotected is said with the field that does it."""
    off = write(tmp_path, "tool: t\nmode: off")
    assert told(off, "/tools/t", *IDS)["answer", "always"] == ("forwarded unprotected, each time", "mode: off")
    lax = write(tmp_path, "tool: t\nkey: {onMissing: forward}")
    assert told(lax, "/tools/t")["answer", "always"][1] == "key.onMissing: forward"
    small = write(tmp_path, "tool: t\nlimits: {requestBody: 1KiB}")
    assert told(small, "/tools/t", *IDS, body="x" * 1025)["answer", "always"][0].startswith("413 too-large")


def test_tenant_is_told_and_missed(tmp_path: Path) -> None:
    """Where a policy names one."""
    loaded = write(tmp_path, "tool: t\nkey: {tenant: header:X-Tenant-Id}")
    assert told(loaded, "/tools/t", *IDS)["answer", "always"][0].startswith(
        "400 key-missing: the request names no tenant"
    )
    assert told(loaded, "/tools/t", *IDS, "X-Tenant-Id: acme")["identity", "tenant"] == ("acme", "header:X-Tenant-Id")


def test_unusual_spelling_is_explained(shipped: Loaded) -> None:
    """The normal form that was matched, or that there is none."""
    found = told(shipped, "/x/../tools/create%5Fticket?q=1", *IDS)
    assert found["request", "path"] == ("/tools/create_ticket", "its normal form (RFC 3986, 6.2.2)")
    assert found["policy", "tool"][0] == "create_ticket"
    twisted = told(shipped, "/tools/..%2Ftools/create_ticket", *IDS)
    assert twisted["request", "path"][1].startswith("ambiguous")
    assert twisted["policy", "tool"] == ("_unmatched", "no policy names this request")


def test_unmatched_request_is_a_read_or_a_write_by_its_method(tmp_path: Path) -> None:
    """And the folder's Defaults hold for it."""
    loaded = write(tmp_path, "timeouts: {upstream: 45s}", kind="Defaults")
    found = told(loaded, "/x", method="GET")
    assert found["policy", "effect"] == ("read", "GET, HEAD and OPTIONS are reads, everything else is a write")
    assert found["answer", "time-out"][0] == "504 upstream-timeout after 45s of silence"
    assert found["field", "timeouts.upstream"][1].endswith("a.yaml:3")
    assert told(loaded, "/x", *IDS)["policy", "effect"][0] == "write"


def test_effect_key_shows_its_parts(shipped: Loaded) -> None:
    """The digest, and where each part of it comes from; or what the request lacks for one."""
    body = '{"user_id": "usr_1", "subject": "Printer"}'
    lines = explain(shipped, from_flags("POST", "/tools/create_ticket", IDS, body))
    parts = [(line.name, line.value, line.source) for line in lines if line.topic == "effect"]
    assert parts[1:] == [("part", "usr_1", "body:/user_id"), ("part", "Printer", "body:/subject")]
    assert parts[0][2] == "over tenant, tool, scope tenant and 2 fields"
    again = told(shipped, "/tools/create_ticket", "Idempotency-Key: k", body=body)["effect", "key"]
    assert again[0] == parts[0][1]
    assert told(shipped, "/tools/create_ticket", *IDS)["effect", "key"][0] == "none: the request has no body:/user_id"


def test_scope_of_effects_is_shown_and_missed(tmp_path: Path) -> None:
    """The header that names it is required."""
    loaded = write(tmp_path, "tool: t\neffectKey: {fields: [body:/a], scope: thread}")
    found = told(loaded, "/tools/t", *IDS, "X-Thread-Id: thd_1", body='{"a": 1}')
    assert found["effect", "scope"] == ("thd_1", "header:X-Thread-Id")
    assert told(loaded, "/tools/t", *IDS)["answer", "always"][0].startswith("400 key-missing: effects are told apart")


def test_unknown_outcome_shows_the_probe_as_it_would_be_sent(shipped: Loaded) -> None:
    """Its target filled in; or the window in which a call is sent again."""
    found = told(shipped, "/tools/create_ticket", *IDS)
    operation = found["identity", "operation"][0]
    assert found["unknown", "probe"][0].startswith(f"GET /tickets?external_ref={operation}: first after 2s")
    assert found["unknown", "not found"][0] == "the key is free once it is not there 2m after"
    assert "up to 23h" in told(shipped, "/tools/refund_payment", *IDS)["unknown", "resend"][0]


def test_effect_may_be_the_identity(tmp_path: Path) -> None:
    """Of a call that has no other."""
    loaded = write(tmp_path, "tool: t\nkey: {onMissing: effect}\neffectKey: {fields: [body:/a], scope: tenant}")
    found = told(loaded, "/tools/t", body='{"a": 1}')
    assert found["identity", "key"][1] == "effect"
    assert found["identity", "fingerprint"][1].endswith("and the effect key")


def test_reused_ids_have_the_fingerprint_in_their_key(tmp_path: Path) -> None:
    """Where the policy says so: then other content is another operation."""
    loaded = write(tmp_path, "tool: t\nkey: {onReuse: separate}")
    one, two = (told(loaded, "/tools/t", *IDS, body=body)["identity", "operation"] for body in ("{}", "[]"))
    assert one != two


def test_policies_of_tenants_and_modes_are_explained(tmp_path: Path) -> None:
    """Denied to one, observed for another, refused to who does not say."""
    (tmp_path / "b.yaml").write_text(
        "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\nmatch: {path: /tools/t}\nmode: deny\n"
    )
    lines = "tool: t\nmatch: {path: /tools/t, tenants: [acme]}\nkey: {tenant: header:X-Tenant-Id}\nmode: observe"
    loaded = write(tmp_path, lines)
    denied = told(loaded, "/tools/t", *IDS, "X-Tenant-Id: globex")
    assert denied["answer", "always"] == ("403 denied: t is not launched here", "mode: deny")
    observed = told(loaded, "/tools/t", *IDS, "X-Tenant-Id: acme")
    assert observed["answer", "always"][1] == "mode: observe"
    assert observed["field", "match.tenants"][1].endswith("a.yaml:4")
    assert told(loaded, "/tools/t", *IDS)["answer", "always"][0].startswith("400 key-missing: the request names no")
