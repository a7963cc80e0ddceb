"""A link in the documentation leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked_files

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings make: lower case, punctuation dropped, spaces as hyphens."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("path", [path for path in tracked_files() if path.suffix == ".md"], ids=str)
def test_link_to_a_file_or_heading_of_ours_leads_there(path: Path) -> None:
    """Relative links name files that exist, and anchors that their headings make."""
    text = FENCE.sub("", (ROOT / path).read_text())
    for link in LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / path.parent / name) if name else ROOT / path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(FENCE.sub("", target.read_text())), link
