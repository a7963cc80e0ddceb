"""Three layers become one policy: what is built in, the folder's Defaults, the tool's own document.

Maps merge by field and lists replace: settings are kept by leaf, so the upper layer's leaf simply stands. Each leaf
keeps its place, for `policy explain`. What is built in is read off the model, so that there is one list of defaults.
"""

from __future__ import annotations

from typing import Any, Final

from policies.fields import LEAVES
from policies.kinds import BROKEN
from policies.model import (
    UNMATCHED,
    FingerprintRules,
    KeyRules,
    Limits,
    Match,
    ResultRules,
    Retry,
    Timeouts,
    ToolPolicy,
    UnknownRules,
    Upstream,
)
from policies.reading import Setting

Settings = dict[str, Setting]
"""A policy by leaf: `timeouts.hold` and so on."""

PARTS: Final[dict[str, type]] = {
    "match": Match,
    "upstream": Upstream,
    "key": KeyRules,
    "fingerprint": FingerprintRules,
    "timeouts": Timeouts,
    "retry": Retry,
    "unknown": UnknownRules,
    "result": ResultRules,
    "limits": Limits,
}


def _built_in() -> Settings:
    model = ToolPolicy(tool=UNMATCHED, match=Match("/**"))
    found: Settings = {}
    for path, leaf in LEAVES.items():
        value: Any = model
        for name in leaf.target.split("."):
            value = getattr(value, name)
        found[path] = Setting(value, None)
    return found


BUILT_IN: Final = _built_in()
"""Every leaf as the model has it: also the policy of a write that no policy names."""


def layered(defaults: Settings, own: Settings) -> Settings:
    """Return a tool's settings. Its path is /tools/<tool> unless it says otherwise."""
    merged = BUILT_IN | defaults | own
    tool = own.get("tool")
    if tool is not None and "match.path" not in own:
        path = BROKEN if tool.value is BROKEN else f"/tools/{tool.value}"
        merged["match.path"] = Setting(path, None)
    return merged


def build(settings: Settings) -> ToolPolicy:
    """Return the policy that whole and unbroken settings describe."""
    top: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {name: {} for name in PARTS}
    for path, leaf in LEAVES.items():
        value = settings[path].value
        assert value is not BROKEN, path
        part, _, name = leaf.target.rpartition(".")
        (below[part] if part else top)[name] = value
    return ToolPolicy(**top, **{name: part(**below[name]) for name, part in PARTS.items()})
