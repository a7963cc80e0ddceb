"""Targets with gaps: `/tickets?external_ref={operation}`, read once with the policy and filled in for each call.

What goes into a gap comes from the caller, or from the body that it sent. It is percent-encoded whole (RFC 3986, 2), so
that it stays inside the segment or the parameter where the policy put it, and asks for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from policies.model import Selector
from policies.selector import is_credential, parse_selector

NAMES: Final = ("operation", "run_id", "tool_call_id", "thread_id", "user_id", "tenant")
"""What can be filled in besides `body:/pointer` and `header:Name`."""

TARGET_MAX: Final = 4096
"""Octets of a filled target: half of what servers take for a whole request line, and ours to keep with each record."""

_GAP = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
"""What stands as it is in a path or a query (RFC 3986, 3.3 and 3.4)."""


class Template(Struct, frozen=True):
    """A target, split at its gaps: text, variable, text, variable, …, text."""

    parts: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """What it takes to fill it in, in order: names of `NAMES`, and selectors as they are written."""
        return self.parts[1::2]

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Those of them that are looked for in the request."""
        return tuple(parse_selector(name) for name in self.variables if name not in NAMES)

    def fill(self, values: Mapping[str, str | None]) -> str | None:
        """Return the target for one call, or None if there is none that can be trusted to ask for that call alone.

        None is for a value that is missing or empty (`/tickets/` would list them all), for one that would make a dot
        segment (`/tickets/..`), and beyond `TARGET_MAX`.
        """
        filled = list(self.parts)
        for index, name in enumerate(self.variables):
            value = values.get(name)
            if not value or len(value) > TARGET_MAX:
                return None
            try:
                filled[2 * index + 1] = quote(value, safe="", errors="surrogateescape")
            except UnicodeEncodeError:
                return None  # half of a surrogate pair, which JSON can spell and no target can
        target = "".join(filled)
        return None if len(target) > TARGET_MAX or _has_dots(target) else target


def parse_template(text: str) -> Template:
    """Read a template. Raises `ValueError` with a message for whoever wrote the policy."""
    if len(text) > TARGET_MAX:
        raise ValueError(f"longer than {TARGET_MAX} characters")
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError("a target starts with one / and has no host: it is asked for at the tool's own")
    parts = _GAP.split(text)
    for literal in parts[::2]:
        if "{" in literal or "}" in literal:
            raise ValueError("a brace without its other half")
        if _LITERAL.fullmatch(literal) is None:
            raise ValueError("a character that has to be percent-encoded in a target, or a fragment")
    if _has_dots("x".join(parts[::2])):
        raise ValueError("a dot segment in a target")
    for name in parts[1::2]:
        _check(name)
    return Template(tuple(parts))


def _check(name: str) -> None:
    if name in NAMES:
        return
    if not name.startswith(("body:", "header:")):
        known = ", ".join(f"{{{known}}}" for known in NAMES)
        raise ValueError(f"{{{name[:60]}}} cannot be filled in; there are {known}, {{body:/…}} and {{header:…}}")
    selector = parse_selector(name)
    if selector.kind == "header" and is_credential(selector.argument):
        raise ValueError(f"header {selector.argument} is a credential, which must not stand in a target")


def _has_dots(target: str) -> bool:
    return any(segment in {".", ".."} for segment in target.partition("?")[0].split("/"))
