"""The kinds of values: what each takes, and what it says to what it does not take."""

from __future__ import annotations

import pytest

from policies.document import Sequence, read_documents
from policies.faults import Place
from policies.kinds import BROKEN, Kind, boolean, choice, duration, integer, list_of, nullable, size, text, type_of

NAME = text(str, str, {}, remedy="Write a name.")
SHORT = duration(1_000, 60_000)
WORD = choice("enforce", "off")


def read(kind: Kind, written: str) -> tuple[object, list[tuple[str, str]]]:
    """Read a value as written; return it with what was reported: path, message and remedy."""
    (node,), faults = read_documents(f"[{written}]", "f")
    assert not faults
    said: list[tuple[str, str]] = []

    def report(place: Place, path: str, message: str, remedy: str) -> None:
        assert place.line == 1
        said.append((path, f"{message}. {remedy}"))

    value = list_of(kind, remedy="").read(node, lambda place, path, m, r: report(place, path.removeprefix("[0]"), m, r))
    return (value if value is BROKEN else value[0]), said


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (NAME, "abc", "abc"),
        (NAME, '"no"', "no"),
        (NAME, "'12'", "12"),
        (NAME, "header:X-A", "header:X-A"),
        (WORD, "off", "off"),
        (WORD, '"off"', "off"),
        (SHORT, "2s", 2_000),
        (SHORT, '"2s"', 2_000),
        (size(0, 2**20), "1KiB", 1024),
        (integer(0, 10), "0", 0),
        (boolean(), "true", True),
        (boolean(), "FALSE", False),
        (nullable(NAME, ""), "null", None),
        (nullable(NAME, ""), "~", None),
        (nullable(NAME, ""), '"null"', "null"),
        (list_of(NAME, remedy=""), "[a, b]", ("a", "b")),
        (list_of(NAME, remedy=""), "[]", ()),
    ],
)
def test_value_of_the_right_kind_is_taken(kind: Kind, written: str, value: object) -> None:
    """What is written as the documentation says is read as it means."""
    assert read(kind, written) == (value, [])


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        (
            NAME,
            "no",
            "plain 'no' is a boolean, a number or a date to YAML 1.1 readers. Put it in double quotes if you",
        ),
        (NAME, "Off", "plain 'Off' is a boolean"),
        (NAME, "10:30", "plain '10:30' is a boolean, a number"),
        (NAME, "1_000", "plain '1_000' is a boolean, a number"),
        (NAME, "2026-03-19", "plain '2026-03-19' is a boolean, a number or a date"),
        (NAME, "true", "a boolean where text is expected. Write a name."),
        (NAME, "12", "a number where text is expected"),
        (NAME, "1e3", "a number where text is expected"),
        (NAME, ".nan", "a number where text is expected"),
        (NAME, "0x1F", "a number where text is expected"),
        (NAME, "~", "null where text is expected"),
        (NAME, "[a]", "a list where text is expected"),
        (NAME, "{a: b}", "a map where text is expected"),
        (WORD, "on", "'on' is not a choice here. Write enforce or off."),
        (WORD, "{a: b}", "a map is not a choice here"),
        (SHORT, "30", "'30' has no unit. Say which: 30s or 30ms."),
        (SHORT, '"30"', "'30' has no unit"),
        (SHORT, "10:30", "10:30 is 630 to YAML 1.1 readers and text to others. Write 630s"),
        (SHORT, "no", "'no' is not a duration. Write a whole number and its unit"),
        (SHORT, "1.5s", "'1.5s' is not a duration"),
        (SHORT, "61s", "61s is out of range. It can be 1s to 60s."),
        (SHORT, "1ms", "1ms is out of range"),
        (SHORT, "[2s]", "a list where a duration is expected. Write 200ms, 2s, 10m, 24h or 7d."),
        (size(0, 2**20), "100", "'100' has no unit. Say which: 100MiB or 100KiB."),
        (size(0, 2**20), "2MiB", "2MiB is out of range. It can be 0B to 1MiB."),
        (integer(1, 10), "11", "11 is out of range. Write a number from 1 to 10, without quotes."),
        (integer(1, 10), '"3"', "'3' where a whole number is expected"),
        (integer(1, 10), "03", "'03' where a whole number is expected"),
        (integer(1, 10), "0x3", "'0x3' where a whole number is expected"),
        (integer(1, 10), "3.0", "'3.0' where a whole number is expected"),
        (boolean(), "yes", "'yes' where true or false is expected. Write true or false, without quotes."),
        (boolean(), "on", "'on' where true or false"),
        (boolean(), "1", "'1' where true or false"),
        (boolean(), '"true"', "'true' where true or false"),
    ],
)
def test_value_of_the_wrong_kind_is_told_with_its_remedy(kind: Kind, written: str, said: str) -> None:
    """YAML 1.1's surprises, numbers without units, wrong types: each has words of its own."""
    value, reported = read(kind, written)
    assert value is BROKEN
    assert len(reported) == 1
    assert reported[0][1].startswith(said)


def test_every_bad_item_of_a_list_is_told() -> None:
    """One bad item hides no other, and each says which it is."""
    value, said = read(list_of(NAME, remedy=""), "[a, 1, b, ~]")
    assert value is BROKEN
    assert [path for path, _ in said] == ["[1]", "[3]"]


def test_list_of_the_wrong_length_is_told() -> None:
    """The bounds are in the message."""
    assert read(list_of(NAME, at_least=1, at_most=2, remedy="R."), "[]")[1] == [
        ("", "a list of 0; it takes 1 to 2. R.")
    ]
    assert read(list_of(NAME, at_least=1, at_most=2, remedy="R."), "[a, b, c]")[1] == [
        ("", "a list of 3; it takes 1 to 2. R.")
    ]


def test_forgotten_value_is_not_a_null() -> None:
    """`tenant:` with nothing behind it is a slip; `tenant: null` is a decision."""
    (document,), _ = read_documents("- \n- null\n", "f")
    assert isinstance(document, Sequence)
    assert [type_of(item) for item in document.items] == ["no value", "null"]
