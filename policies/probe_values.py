"""The kinds of values that only probes have: a target with gaps, a condition on the answer, header fields to send."""

from __future__ import annotations

from typing import Any, Final

from policies import kinds, selector, template
from policies.document import Mapping, Node
from policies.kinds import BROKEN, Kind, Report

HEADERS_MAX: Final = 16
FILE: Final = "file:"
"""A header's value that starts so names the file that holds it."""

TEMPLATE_PATTERN: Final = (
    r"^/([^{}]|\{(operation|run_id|tool_call_id|thread_id|user_id|tenant|(body|header):[^{}]+)\})*$"
)


def _template(text: str) -> str:
    template.parse_template(text)
    return text


def _value(text: str) -> str:
    if not text or not text.isprintable() or not text.isascii() or text != text.strip() or text == FILE:
        raise ValueError("a header's value is printable ASCII without a space at its ends")
    return text


_VALUE = kinds.text(_value, str, {"minLength": 1}, remedy="Write the value, or file:PATH for one that is kept secret.")


def _headers() -> Kind:
    remedy = "Write a map of header fields, as in {Authorization: file:/run/secrets/desk}."

    def one(name: str, node: Node, report: Report) -> Any:
        try:
            selector.check_header(name)
        except ValueError as error:
            report(node.place, f".{name[:40]}", str(error), "Take it out of the map.")
            return BROKEN
        value = _VALUE.read(node, lambda place, path, *said: report(place, f".{name}{path}", *said))
        if value is not BROKEN and selector.is_credential(name) and not value.startswith(FILE):
            message = "a credential in a policy file"
            report(node.place, f".{name}", message, "Put it into a file of its own and write file:PATH.")
            return BROKEN
        return value

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Mapping) or len(node.entries) > HEADERS_MAX:
            what = (
                "more than there is room for"
                if isinstance(node, Mapping)
                else f"{kinds.type_of(node)} where a map is expected"
            )
            report(node.place, "", what, remedy)
            return BROKEN
        found = tuple((name, one(name, value, report)) for name, (_, value) in node.entries.items())
        return BROKEN if any(value is BROKEN for _, value in found) else found

    schema = {
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1},
        "maxProperties": HEADERS_MAX,
    }
    return Kind(read, dict, schema)


TEMPLATE: Final = kinds.text(
    _template, str, {"pattern": TEMPLATE_PATTERN, "examples": ["/tickets?external_ref={operation}"]},
    remedy="Write a path and query with gaps, such as /tickets?external_ref={operation}.",
)  # fmt: skip
CONDITION: Final = kinds.text(
    selector.parse_condition, selector.show_predicate, {"pattern": r"^body:/"},
    remedy='Write body:/pointer for what must be there, or a comparison such as "body:/status == \\"done\\"".',
)  # fmt: skip
HEADERS: Final = _headers()
