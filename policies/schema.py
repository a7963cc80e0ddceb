"""`schema.json`, written from the table of fields: what an editor needs to complete and to underline.

JSON Schema draft 7, since that is what the YAML language server speaks. The schema is a help while typing; `policy
check` is the judge. What only the loader can see (ties, inequalities between timers, ranges of durations) is not in it.
"""

from __future__ import annotations

import json
from typing import Any

from policies.case_fields import POLICY_TEST, TEST_FIELDS
from policies.field import Field, Group, Leaf
from policies.fields import API_VERSION, DEFAULT_FIELDS, DEFAULTS, TOOL_FIELDS, TOOL_POLICY
from policies.map_kinds import table
from policies.merge import BUILT_IN

OWN = frozenset({"tool", "match.path", "match.method"})
"""Fields whose built-in value depends on the tool: no default is shown for them."""


def schema() -> dict[str, Any]:
    """Return the schema of one YAML document of a policy file."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": f"https://{API_VERSION}/policy.schema.json",
        "title": "Holdfast policy",
        "description": "What Holdfast does with the calls of one tool, or the defaults of a folder of such policies.",
        "oneOf": [{"$ref": f"#/definitions/{kind}"} for kind in (TOOL_POLICY, DEFAULTS, POLICY_TEST)],
        "definitions": {
            TOOL_POLICY: _document(TOOL_POLICY, "What is done with the calls of one tool.", TOOL_FIELDS, ["tool"]),
            DEFAULTS: _document(DEFAULTS, "What holds for every tool of this folder unless its policy says otherwise.",
                                DEFAULT_FIELDS, []),
            POLICY_TEST: _cases("Cases that the policies of this folder must stand; holdfast policy test plays them."),
        },
    }  # fmt: skip


def rendered() -> str:
    """Return the text of `schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _document(kind: str, doc: str, fields: dict[str, Field], required: list[str]) -> dict[str, Any]:
    body = _map(doc, fields, "")
    envelope = {
        "apiVersion": {"const": API_VERSION, "description": "The version of this format."},
        "kind": {"const": kind, "description": doc},
    }
    return {**body, "required": ["apiVersion", "kind", *required], "properties": {**envelope, **body["properties"]}}


def _cases(doc: str) -> dict[str, Any]:
    body = table(TEST_FIELDS)
    envelope = {"apiVersion": {"const": API_VERSION}, "kind": {"const": POLICY_TEST, "description": doc}}
    required = ["apiVersion", "kind", *body["required"]]
    return {**body, "description": doc, "required": required, "properties": {**envelope, **body["properties"]}}


def _map(doc: str, fields: dict[str, Field], above: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        if isinstance(field, Leaf):
            properties[name] = _leaf(above + name, field)
        elif isinstance(field, Group):
            properties[name] = {**_map(field.doc, field.fields, f"{above}{name}."), "minProperties": 1}
    return {"type": "object", "description": doc, "additionalProperties": False, "properties": properties}


def _leaf(path: str, leaf: Leaf) -> dict[str, Any]:
    takes = leaf.kind.schema.get("description")
    described = {**leaf.kind.schema, "description": f"{leaf.doc} {takes}" if takes else leaf.doc}
    return described if path in OWN else {**described, "default": leaf.kind.show(BUILT_IN[path].value)}
