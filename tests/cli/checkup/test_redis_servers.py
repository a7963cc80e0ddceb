"""What is said about Sentinels and clusters, from what they tell."""

from __future__ import annotations

import pytest

from cli.checkup.redis_servers import _facts, _quorate, _whole
from ledger.stores.redis_slots import Range, SlotMap
from ledger.stores.redis_url import Place

HERE, THERE = Place("10.0.0.1", 6379), Place("10.0.0.2", 6379)


@pytest.mark.parametrize(
    ("away", "sentinels", "severity", "words"),
    [
        (0, 3, "ok", "3 watch ledger, whose primary is 10.0.0.1:6379"),
        (1, 3, "warning", "1 of the Sentinels in the URL do not answer"),
        (0, 2, "warning", "nobody is promoted"),
    ],
)
def test_sentinels_that_could_not_promote_are_a_warning(away: int, sentinels: int, severity: str, words: str) -> None:
    """A standby that nobody promotes is none."""
    finding = _quorate("ledger", HERE, away, sentinels)
    assert finding.severity == severity
    assert words in finding.message


def test_reply_of_names_and_values_is_read_whether_redis_py_has_made_a_mapping_of_it_or_not() -> None:
    """Which it does depends on its version, and on the protocol's."""
    assert _facts([b"ip", b"10.0.0.1", b"port", b"6379"]) == _facts({b"ip": b"10.0.0.1", "port": 6379})


@pytest.mark.parametrize(
    ("ranges", "info", "severity"),
    [
        ((Range(0, 9_999, HERE), Range(10_000, 16_383, THERE)), "cluster_state:ok\r\n", "ok"),
        ((Range(0, 9_999, HERE), Range(10_000, 16_000, THERE)), "cluster_state:ok\r\n", "error"),
        ((Range(0, 16_383, HERE),), "cluster_state:fail\r\n", "error"),
    ],
)
def test_cluster_with_slots_that_are_nobodys_is_an_error(ranges: tuple[Range, ...], info: str, severity: str) -> None:
    """The calls whose scopes lie there are refused."""
    finding = _whole(SlotMap(ranges), info)
    assert finding.severity == severity
    assert (finding.remedy is None) is (severity == "ok")
