"""One spelling for each path, and patterns over it."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.paths import UNRESERVED, normal_path, parse_pattern

SPELLINGS = st.lists(
    st.sampled_from(
        ["/", "a", "b", ".", "..", "%2e", "%2E", "%41", "%2f", "%5C", "\\", ";", "%", "é", "\udcff", "*", "~"]
    ),
    max_size=12,
).map(lambda parts: "/" + "".join(parts))


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("/tools/create_ticket", "/tools/create_ticket"),
        ("/tools/create%5Fticket", "/tools/create_ticket"),
        ("/tools/create%5fticket", "/tools/create_ticket"),
        ("/tools/x/../create_ticket", "/tools/create_ticket"),
        ("/tools/%2e%2E/tools/create_ticket", "/tools/create_ticket"),
        ("/./tools/create_ticket", "/tools/create_ticket"),
        ("/../../tools", "/tools"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a%2fb", "/a%2Fb"),
        ("/a//b", "/a//b"),
        ("/a/", "/a/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/é", "/%C3%A9"),
        ("/a;v=1", "/a;v=1"),
    ],
)
def test_spelling_is_normal_by_rfc_3986(spelled: str, normal: str) -> None:
    """Unreserved characters decoded, escapes in capitals, dot segments resolved (6.2.2); slashes left as they are."""
    assert normal_path(spelled) == normal


@pytest.mark.parametrize(
    "spelled",
    [
        "/a/..%2Fb",
        "/a/..%2fb",
        "/a/%2e%2e%2fb",
        "/a//../b",
        "/a\\..\\b",
        "/a/..\\b",
        "/a/..%5Cb",
        "/a/..;/b",
        "/a/.;x/b",
        "/%zz",
        "/a%",
        "/%a%41",
        "/%2%35F",
        "*",
        "",
    ],
)
def test_path_that_servers_read_differently_matches_nothing(spelled: str) -> None:
    """Where readers disagree on slashes or on escapes, no policy may be talked into answering."""
    assert normal_path(spelled) is None


@given(SPELLINGS)
def test_normal_path_is_its_own_normal_form(spelled: str) -> None:
    """Bringing a path to its normal form twice changes nothing more, and leaves no dot segment."""
    normal = normal_path(spelled)
    if normal is not None:
        assert normal_path(normal) == normal
        assert not {".", ".."} & set(normal.split("/"))
        assert normal.isascii()


@given(st.lists(st.text("abcXYZ019-_~.", min_size=1, max_size=6), min_size=1, max_size=5), st.randoms())
def test_escaping_unreserved_characters_dodges_nothing(segments: list[str], chance: object) -> None:
    """Any mixture of plain and escaped unreserved characters has one normal form."""
    plain = "/" + "/".join(segments)
    choose = getattr(chance, "random")  # noqa: B009  # Hypothesis' own Random, typed as object
    escaped = "".join(
        f"%{ord(letter):02{'xX'[choose() < 0.5]}}" if letter in UNRESERVED and choose() < 0.5 else letter
        for letter in plain
    )
    assert unquote(escaped) == plain
    assert normal_path(escaped) == normal_path(plain)


@given(
    st.lists(st.text("abc_", min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(0, 5),
    st.text("xyz", min_size=1),
)
def test_detour_through_another_segment_dodges_nothing(segments: list[str], at: int, detour: str) -> None:
    """`/x/..` anywhere before the end leads to where it set out from."""
    at = min(at, len(segments) - 1)
    around = [*segments[:at], detour, "..", *segments[at:]]
    assert normal_path("/" + "/".join(around)) == "/" + "/".join(segments)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/tools/a", "/tools/a", True),
        ("/tools/a", "/tools/a/", False),
        ("/tools/a", "/tools/A", False),
        ("/tools/*", "/tools/a", True),
        ("/tools/*", "/tools/", False),
        ("/tools/*", "/tools/a/b", False),
        ("/tools/*/run", "/tools/a/run", True),
        ("/tools/*/run", "/tools/a/b/run", False),
        ("/tools/**", "/tools", True),
        ("/tools/**", "/tools/", True),
        ("/tools/**", "/tools/a/b/c", True),
        ("/tools/**", "/toolsX", False),
        ("/**", "/", True),
        ("/", "/", True),
        ("/a%5Fb", "/a_b", True),
        ("/é", "/%C3%A9", True),
    ],
)
def test_pattern_matches_by_segments(pattern: str, path: str, matches: bool) -> None:
    """`*` is one segment that is not empty; a final `**` is any number of them."""
    assert parse_pattern(pattern).matches(path.split("/")[1:]) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "tools/a",
        "/a*",
        "/a/**/b",
        "/***",
        "/a?b=1",
        "/a#b",
        "/a b",
        "/a//b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a%2Fb",
        "/a\\b",
        "/%zz",
        "/" + "a/" * 40,
        "/" + "a" * 600,
    ],
)
def test_pattern_that_its_author_cannot_have_meant_is_refused(pattern: str) -> None:
    """What could never match, or not as it looks, is said at load."""
    with pytest.raises(ValueError, match="."):
        parse_pattern(pattern)


def test_patterns_are_ranked_from_the_left() -> None:
    """A literal segment is more specific than `*`, and `*` than `**`, the leftmost difference deciding."""
    patterns = ["/a/b", "/a/*", "/a/**", "/*/b", "/*/*", "/**"]
    ranks = [parse_pattern(pattern).rank for pattern in patterns]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


@given(st.text(max_size=20))
def test_any_pattern_is_read_or_refused(text: str) -> None:
    """Nothing but `ValueError` comes out, and what is read matches its own literal path."""
    try:
        pattern = parse_pattern(re.sub(r"^/*", "/", text))
    except ValueError:
        return
    if pattern.literal is not None:
        assert pattern.matches(pattern.literal.split("/")[1:])
        assert normal_path(pattern.literal) == pattern.literal
