"""What a case holds."""

from __future__ import annotations

from policies.cases import encoded


def test_body_is_text_or_json() -> None:
    """Text goes over the wire as it is, anything else as JSON."""
    assert encoded("ü") == "ü".encode()
    assert encoded({"a": None}) == b'{"a":null}'
    assert encoded([]) == b"[]"
