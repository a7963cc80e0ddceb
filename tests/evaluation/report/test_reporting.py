"""From a results folder to its report."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from evaluation.replay.intervals import wilson
from evaluation.report.figures import KNOWN
from evaluation.report.findings import Findings, Replay
from evaluation.report.reporting import BadResults, findings_of, write
from evaluation.scripts import BadScript
from tests.evaluation.report.staged import perfect, plan_of, turns_of, write_results


def replay(findings: Findings, environment: str, variant: str) -> Replay:
    """Return what one variant showed in one environment."""
    found = findings.replay(environment, variant)
    assert found is not None
    return found


def test_report_is_written_as_it_is(findings: Findings, tmp_path: Path) -> None:
    """The JSON holds all of it, under names that are known, and can be read back; the page stands beside it."""
    data, shown = write(tmp_path, findings)
    assert (data.name, shown.name) == ("report.json", "report.html")
    assert msgspec.json.decode(data.read_bytes(), type=Findings) == findings
    told = msgspec.json.decode(data.read_bytes())
    assert told["schema"] == "holdfast.evaluation/v1"
    assert all(one["figures"].keys() == KNOWN.keys() for one in told["replays"])
    assert shown.read_text().startswith("<!DOCTYPE html>")


def test_same_records_give_the_same_report(results: Path, findings: Findings) -> None:
    """To the last digit; and each folder is announced before it is read."""
    seen: list[str] = []
    assert findings_of(results, advance=seen.append) == findings
    assert seen == [f"{one.environment}-{one.variant}" for one in findings.replays]


def test_perfect_replay_has_perfect_figures(findings: Findings) -> None:
    """And intervals that are no surer than there are trials."""
    found = replay(findings, "staging", "C").figures
    perfect_ones = {name: found[name].value for name in ("terminal", "no_stall", "submitted", "one_attempt")}
    assert set(perfect_ones.values()) == {100}
    none = ("duplicates", "lost", "suppressed", "unknown", "repeated_calls", "repeated_keys", "unkeyed", "without_id")
    assert {found[name].value for name in none} == {0}
    assert found["observed_to_intended"].value == 1
    assert found["p50"].value == found["p99"].value == pytest.approx(2.0, abs=1e-6)
    threads = len({turn.thread for turn in turns_of(60, seed=3) if not (turn.repeat and turn.repeat.kind == "resent")})
    assert found["terminal"].low == pytest.approx(100 - wilson(0, threads).high * 100)


def test_what_was_not_finished_is_in_no_figure(findings: Findings) -> None:
    """It is named, and the gate cannot tell."""
    assert findings.unfinished == ("pre-prod-E",)
    assert findings.replay("pre-prod", "E") is None
    (decision,) = [one for one in findings.decisions if one.variant == "E"]
    assert decision.verdict == "cannot tell"
    assert {held.figure.method for held in decision.decided if held.environment == "pre-prod"} == {""}
    assert not findings.passed


def test_gate_decides_what_ships(tmp_path: Path) -> None:
    """A perfect replay passes a gate that asks for what so few turns can show, and not the shipped one, for which they
    are too few; one execution too many is named."""
    turns = {"staging": turns_of(60)}
    gate = tmp_path / "gate.yaml"
    gate.write_text("lines: [{figure: repeated_keys, atMost: 0}, {figure: no_stall, atLeast: 80, confidence: 0.9}]")
    staged = perfect(turns["staging"])
    plan = plan_of({"staging": 60}, ["E"])
    good = write_results(tmp_path / "good", plan, turns, {"staging-E": staged})
    assert findings_of(good, gate).passed
    assert findings_of(good).decisions[0].verdict == "cannot tell"
    staged.again(staged.effects[0])
    bad = write_results(tmp_path / "bad", plan, turns, {"staging-E": staged})
    (decision,) = findings_of(bad, gate).decisions
    assert (decision.verdict, [held.line.figure for held in decision.decided]) == ("do not ship", ["repeated_keys"])


def test_folder_that_is_no_replays_is_refused(tmp_path: Path, results: Path) -> None:
    """With what to do; so is one in which nothing is done, and a gate that cannot be used."""
    with pytest.raises(BadResults, match=r"there is no plan.json: name the folder"):
        findings_of(tmp_path)
    write_results(tmp_path / "begun", plan_of({"staging": 60}, ["E"]), {"staging": turns_of(60)}, {})
    with pytest.raises(BadResults, match="no variant is done: go on with"):
        findings_of(tmp_path / "begun")
    (tmp_path / "gate.yaml").write_text("lines: []")
    with pytest.raises(BadScript, match="lines is empty"):
        findings_of(results, tmp_path / "gate.yaml")


def test_half_a_latency_pair_is_none(results: Path, tmp_path: Path) -> None:
    """What the proxy adds is not known, where one of the two was not replayed to its end."""
    shutil.copytree(results, tmp_path / "half")
    (tmp_path / "half/staging-C-calm/done").unlink()
    found = findings_of(tmp_path / "half")
    assert found.pairs == ()
    assert replay(found, "staging", "C").figures["added_median"].method == ""
    assert replay(found, "staging", "B").figures["added_median"].value == 0
