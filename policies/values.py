"""The kinds of values that only policies have: tools, methods, paths, addresses, selectors, statuses, predicates."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from policies import kinds, selector, units
from policies.document import Node, Scalar
from policies.faults import quoted
from policies.kinds import BROKEN, Kind, Report
from policies.model import UNMATCHED, Predicate, Selector
from policies.paths import parse_pattern

TOOL_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"
METHOD_PATTERN: Final = r"^[A-Z][A-Z-]{0,31}$"
PATH_PATTERN: Final = r"^/[^?#\\ ]*$"
TENANT_MAX: Final = 255
"""As long as a control header can be."""

TENANTS_MAX: Final = 1000
URL_PATTERN: Final = r"^https?://[^/?#@]+$"

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\]")
_METHOD = re.compile(METHOD_PATTERN)
_TOOL = re.compile(TOOL_PATTERN)


def _tool(name: str) -> str:
    if _TOOL.fullmatch(name) is None or name in {".", ".."}:
        raise ValueError(f"{quoted(name)} is not a tool's name")
    if name == UNMATCHED:
        raise ValueError(f"{UNMATCHED} is the label of requests that no policy names")
    return name


def _method(name: str) -> str:
    if _METHOD.fullmatch(name) is None:
        raise ValueError(f"{quoted(name)} is not a method; they are written in capitals")
    if name in {"CONNECT", "TRACE"}:
        raise ValueError(f"{name} is refused before any policy is looked at")
    return name


def _pattern(path: str) -> str:
    parse_pattern(path)
    return path


def _origin(url: str) -> str:
    """Check an upstream's address: nothing but scheme, host and port, since paths come from the request."""
    if not url.isascii() or not url.isprintable() or " " in url:  # urlsplit drops some of these without a word
        raise ValueError(f"{quoted(url)} has characters that no address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{quoted(url)} is not an address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError(f"{quoted(url)} does not start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("a user or password in an address ends up in logs")
    if parts.path or parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("an upstream has no path, query or fragment: the request brings them")
    host = parts.netloc.removesuffix(f":{parts.netloc.rpartition(':')[2]}") if port is not None else parts.netloc
    if _HOST.fullmatch(host) is None or port == 0 or len(host) > 255:
        raise ValueError(f"{quoted(parts.netloc)} is not a host with an optional port")
    return url


def _of_kind(*allowed: str) -> Callable[[str], Selector]:
    def parse(text: str) -> Selector:
        found = selector.parse_selector(text)
        if found.kind not in allowed:
            raise ValueError(f"{found.kind}: cannot be used here")
        return found

    return parse


def selectors(*allowed: str) -> Kind:
    """A selector of one of the `allowed` kinds."""
    forms = {"header": "header:X-Name", "body": "body:/json/pointer", "value": "value:constant"}
    remedy = f"Write {' or '.join(forms[kind] for kind in allowed)}."
    schema = {"anyOf": [{"pattern": selector.SELECTOR_PATTERNS[kind]} for kind in allowed], "description": remedy}
    return kinds.text(_of_kind(*allowed), str, schema, remedy=remedy)


def _key_header(name: str) -> Selector:
    selector.check_header(name)
    if selector.is_credential(name):
        raise ValueError(f"header {name} is a credential's, not a key's")
    return Selector("header", name)


def _body_pointer(text: str) -> Selector:
    selector.pointer_parts(text)
    return Selector("body", text)


def _argument(found: Selector) -> str:
    return found.argument


def _tenant(name: str) -> str:
    if not name or len(name) > TENANT_MAX or not name.isprintable() or not name.isascii() or name != name.strip():
        raise ValueError(f"{quoted(name)} is not what a header could name a tenant by")
    return name


def _tenant_list() -> Kind:
    remedy = "Write a list of tenants as requests name them, such as [acme, globex]."
    one = kinds.text(_tenant, str, {"minLength": 1, "maxLength": TENANT_MAX}, remedy=remedy)
    listed = kinds.list_of(one, at_most=TENANTS_MAX, remedy=remedy)

    def read(node: Node, report: Report) -> Any:
        found = listed.read(node, report)
        return BROKEN if found is BROKEN else frozenset(found)

    return Kind(read, sorted, listed.schema)


def _method_list() -> Kind:
    remedy = "Write a method in capitals, or a list of them: POST, or [POST, PUT]."
    one = kinds.text(_method, str, {"pattern": METHOD_PATTERN, "examples": ["POST", "PUT"]}, remedy=remedy)
    several = kinds.list_of(one, at_least=1, remedy=remedy)

    def read(node: Node, report: Report) -> Any:
        if not isinstance(node, Scalar):
            found = several.read(node, report)
            return BROKEN if found is BROKEN else frozenset(found)
        single = one.read(node, report)
        return BROKEN if single is BROKEN else frozenset({single})

    return Kind(read, sorted, {"anyOf": [one.schema, several.schema]})


def _status_list() -> Kind:
    remedy = "Write a list of statuses and classes, as in [2xx, 404]."

    def one(node: Node, report: Report) -> Any:
        if isinstance(node, Scalar):
            try:
                return units.statuses(node.text)
            except ValueError as error:
                report(node.place, "", str(error), remedy)
        else:
            report(node.place, "", f"{kinds.type_of(node)} where a status is expected", remedy)
        return BROKEN

    schema = {"anyOf": [{"type": "string", "pattern": units.STATUS_PATTERN},
                        {"type": "integer", "minimum": units.STATUSES[0], "maximum": units.STATUSES[-1]}]}  # fmt: skip
    items = kinds.list_of(Kind(one, str, schema), at_most=600, remedy=remedy)

    def read(node: Node, report: Report) -> Any:
        found = items.read(node, report)
        return BROKEN if found is BROKEN else frozenset[int]().union(*found)

    def show(found: frozenset[int]) -> list[Any]:
        return [int(status) if status.isdigit() else status for status in units.show_statuses(found)]

    return Kind(read, show, items.schema)


def _sources() -> Kind:
    remedy = "Write a list of sources, each a list of selectors: [[header:X-Run-Id, header:X-Tool-Call-Id]]."
    part = selectors("header", "body", "value")
    listed = kinds.list_of(
        kinds.list_of(part, at_least=1, at_most=8, remedy=remedy), at_least=1, at_most=8, remedy=remedy
    )

    def read(node: Node, report: Report) -> Any:
        found = listed.read(node, report)
        if found is BROKEN:
            return BROKEN
        for index, source in enumerate(found):
            if all(one.kind == "value" for one in source):
                message = "a source of constants alone makes every call the same call"
                report(node.place, f"[{index}]", message, "Add a header or a body selector that tells calls apart.")
                return BROKEN
        return found

    return Kind(read, listed.show, listed.schema)


def _predicates() -> Kind:
    remedy = 'Write a list such as ["body:/isError == true"]; text to compare with takes double quotes of its own.'
    schema = {"pattern": selector.PREDICATE_PATTERN}

    def show(predicate: Predicate) -> str:
        return selector.show_predicate(predicate)

    one = kinds.text(selector.parse_predicate, show, schema, remedy=remedy)
    return kinds.list_of(one, remedy=remedy)


TOOL: Final = kinds.text(
    _tool, str, {"pattern": TOOL_PATTERN}, remedy="Use 1 to 64 letters, digits, hyphens, underscores and dots."
)
PATH: Final = kinds.text(
    _pattern, str, {"pattern": PATH_PATTERN, "examples": ["/tools/create_ticket", "/tools/*/run", "/search/**"]},
    remedy="Write an absolute path; a segment * matches one segment, a final /** the rest.",
)  # fmt: skip
URL: Final = kinds.text(
    _origin, str, {"pattern": URL_PATTERN, "examples": ["http://tools:9000"]}, remedy="Write it like http://tools:9000."
)
KEY_HEADER: Final = kinds.text(
    _key_header, _argument, {"pattern": f"^{selector.HEADER_PATTERN}$", "examples": ["Idempotency-Key"]},
    remedy="Write a header's name, such as Idempotency-Key.",
)  # fmt: skip
POINTER: Final = kinds.text(
    _body_pointer, _argument, {"pattern": f"^{selector.POINTER_PATTERN}$", "examples": ["/idempotency_key"]},
    remedy="Write a JSON Pointer, such as /idempotency_key.",
)  # fmt: skip
TENANTS: Final = _tenant_list()
METHODS: Final = _method_list()
STATUS_LIST: Final = _status_list()
SOURCES: Final = _sources()
PREDICATES: Final = _predicates()
EFFECT_FIELDS: Final = kinds.list_of(
    selectors("header", "body"), at_least=1, at_most=16, remedy="Write a list such as [body:/user_id, body:/subject]."
)
IGNORED: Final = kinds.list_of(selectors("body"), remedy="Write a list such as [body:/metadata/sent_at].")
