"""The table of fields against the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from policies.field import Leaf, leaves
from policies.fields import LEAVES, TOOL_FIELDS
from policies.merge import BUILT_IN, FOLDED, OPTIONAL, PARTS
from policies.model import ToolPolicy


def model_leaves() -> set[str]:
    """Return the model's fields by their path; a part's in place of the part."""
    parts = PARTS | {name: part for name, (part, _) in OPTIONAL.items()}
    fields = {field.name for field in msgspec.structs.fields(ToolPolicy)}
    below = {f"{name}.{field.name}" for name, part in parts.items() for field in msgspec.structs.fields(part)}
    return (fields | below) - set(parts)


def test_every_field_of_the_model_can_be_written() -> None:
    """And every field that can be written is in the model, once, as it is or folded."""
    targets = [leaf.target for leaf in LEAVES.values()]
    assert len(targets) == len(set(targets))
    assert set(targets) - set(FOLDED) == model_leaves() - {"upstream.idempotency"}
    assert set(FOLDED) <= set(targets)


def test_every_field_says_what_it_means() -> None:
    """A sentence for the editor and the documentation."""
    assert all(leaf.doc.endswith(".") and len(leaf.doc) > 10 for leaf in LEAVES.values())
    assert all(isinstance(leaf, Leaf) for leaf in leaves(TOOL_FIELDS).values())


def flow(value: Any) -> str:
    """Write a value as the documentation does."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case _:
            return str(value)


def test_documentation_names_every_field_with_its_default() -> None:
    """The table in docs/policies.md is this table: each field once, and what it is if left out."""
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    table = text.partition("\n## Fields\n")[2].partition("\n### ")[0]
    told = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", table, re.MULTILINE))
    assert set(told) == set(LEAVES)
    special = {
        "tool": "required",
        "match.method": "any but GET, HEAD",
        "match.path": "`/tools/<tool>`",
        "upstream.url": "`--upstream`",
    }
    for path, leaf in LEAVES.items():
        assert told[path] == special.get(path, f"`{flow(leaf.kind.show(BUILT_IN[path].value))}`"), path
