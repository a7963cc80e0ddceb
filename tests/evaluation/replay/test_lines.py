"""Lines that cannot be used are told by place, field and remedy."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Struct

from evaluation.replay.lines import BadLine, decoded


class Thing(Struct, forbid_unknown_fields=True):
    """Something with a number, and perhaps others of its kind."""

    number: int
    others: list[Thing] = []


DECODER = msgspec.json.Decoder(Thing)


def test_line_is_read_as_what_it_says() -> None:
    """What is there is there."""
    assert decoded("a:1", b'{"number":7}', DECODER).number == 7


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"number":"x"}', "a:3: number: Expected `int`, got `str`: write what is expected"),
        (b'{"number":1,"others":[{}]}', r"a:3: others\[0\].number: .*missing.*: add the field"),
        (b'{"number":1,"numbr":1}', "a:3: numbr: .*unknown field.*: remove the field, or correct its name"),
        (b"[]", "a:3: the whole line: Expected `object`"),
        (b"{", "a:3: not JSON .*: write one record per line"),
        (b" \n", "a:3: the line is empty: remove it"),
    ],
)
def test_line_that_cannot_be_used_is_told_by_its_field(line: bytes, told: str) -> None:
    """The place stands first, then the field, and what to do about it."""
    with pytest.raises(BadLine, match=told):
        decoded("a:3", line, DECODER)
