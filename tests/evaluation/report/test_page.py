"""The page: well-formed, of one piece, and to be read without seeing its plots."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from evaluation.report.findings import Findings
from evaluation.report.page import STYLE, page


@pytest.fixture(scope="module")
def shown(findings: Findings) -> str:
    """The page of the small replay."""
    return page(findings)


@pytest.fixture(scope="module")
def tree(shown: str) -> ET.Element:
    """Its elements: it is well-formed XML as well."""
    return ET.fromstring(shown)


def text_of(element: ET.Element) -> str:
    """Return the text of an element, whatever it is made of."""
    return " ".join("".join(element.itertext()).split())


def test_page_is_of_one_piece(shown: str, tree: ET.Element) -> None:
    """It asks nobody for anything: no address, no script, no image, no style sheet, no font."""
    assert not re.search(r"https?:|//|url\(|@import|src=", shown.replace("<!DOCTYPE html>", ""))
    names = {element.tag for element in tree.iter()}
    assert not names & {"script", "link", "img", "iframe", "object", "embed"}
    assert STYLE.read_text() in shown


def test_every_plot_has_its_numbers_as_text_and_its_table(tree: ET.Element) -> None:
    """Whoever does not see the plot loses nothing."""
    plots = [svg for svg in tree.iter("svg") if svg.get("role") == "img"]
    assert len(plots) > 8
    assert all(len(svg.get("aria-label", "")) > 50 for svg in plots)
    assert all(svg.get("aria-hidden") == "true" for svg in tree.iter("svg") if svg not in plots)
    for section in tree.iter("section"):
        assert section.find(".//table") is not None
    assert all(figure.find("figcaption") is not None for figure in tree.iter("figure"))


def test_links_lead_to_sections(tree: ET.Element) -> None:
    """And each section has its own name."""
    targets = [section.get("id") for section in tree.iter("section") if section.get("id")]
    assert [f"#{name}" for name in targets] == [link.get("href") for link in tree.iter("a")]
    assert len(set(targets)) == len(targets)


def test_verdicts_stand_first(tree: ET.Element) -> None:
    """Each variant's, with what decided; that of the candidate is set apart."""
    verdicts = tree.find(".//ul[@class='verdicts']")
    assert verdicts is not None
    told = [text_of(item) for item in verdicts]
    assert told[0].startswith("A: do not ship")
    assert "pre-prod alone: cannot tell" in told[0]
    assert "repeated keys" in told[0]
    assert told[3].startswith("E: cannot tell")
    assert told[3].endswith("more")
    variants = tree.find(".//dl")
    assert variants is not None
    assert [text_of(name) for name in variants.findall("dt")] == ["A", "B", "C", "E"]
    assert [item.get("class") for item in verdicts] == [None, None, None, "candidate"]


def test_gate_is_told_line_by_line(findings: Findings, tree: ET.Element) -> None:
    """For each environment and variant how it stands; what was not finished is open."""
    table = tree.find(".//table[@class='gate']")
    assert table is not None
    rows = table.findall("./tbody/tr")
    assert len(rows) == len(findings.gate.lines) * 2
    assert [text_of(cell) for cell in rows[0].findall("td")] == ["missed1", "met0", "met0", "met0"]
    assert [text_of(cell) for cell in rows[1].findall("td")] == ["met0", "met0", "met0", "open-"]
    assert "repeated_keys at most 0" in text_of(rows[0].findall("th")[0])


def test_names_are_names(findings: Findings) -> None:
    """A variant or an environment that looks like markup is told as it is called."""
    strange = [replace(one, variant="<b>&") for one in findings.decisions]
    tree = ET.fromstring(page(replace(findings, decisions=tuple(strange[:0]), unfinished=("<i>&",))))
    assert "<i>&" in text_of(tree)
    assert tree.find(".//i") is None


def test_page_knows_dark_screens_and_paper() -> None:
    """By its style sheet alone."""
    style = STYLE.read_text()
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
