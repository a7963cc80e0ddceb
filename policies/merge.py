"""Three layers become one policy: what is built in, the folder's Defaults, the tool's own document.

Maps merge by field and lists replace: settings are kept by leaf, so the upper layer's leaf simply stands. Each leaf
keeps its place, for `policy explain`. What is built in is read off the model, so that there is one list of defaults.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from policies.fields import LEAVES
from policies.kinds import BROKEN
from policies.model import (
    UNMATCHED,
    EffectRules,
    FingerprintRules,
    KeyRules,
    Limits,
    Match,
    Probe,
    ResultRules,
    Retry,
    Timeouts,
    ToolPolicy,
    UnknownRules,
    Upstream,
)
from policies.presets import BODY, HEADER, HONOURS, PRESETS
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
"""The model's parts that every policy has."""

OPTIONAL: Final[dict[str, tuple[type, str]]] = {
    "effect_key": (EffectRules, "fields"),
    "unknown.probe": (Probe, "get"),
}
"""The parts that a policy has once the named one of their fields is set."""

FOLDED: Final[dict[str, Any]] = {
    "upstream.preset": None,
    "upstream.idempotency_header": None,
    "upstream.idempotency_body": None,
    "unknown.probe.trust": "never",
}
"""Fields that the model has in another form, and what they are if left out; `build` folds them."""


def _built_in() -> Settings:
    model = ToolPolicy(tool=UNMATCHED, match=Match("/**"))
    return {path: Setting(_default(model, leaf.target), None) for path, leaf in LEAVES.items()}


def _default(model: ToolPolicy, target: str) -> Any:
    """Return what the model has at `target`, or would have in a part that is not there."""
    if target in FOLDED:
        return FOLDED[target]
    part, _, name = target.rpartition(".")
    if part in OPTIONAL:
        value = next(field.default for field in msgspec.structs.fields(OPTIONAL[part][0]) if field.name == name)
        return None if value is msgspec.NODEFAULT else value
    here: Any = model
    for step in target.split("."):
        here = getattr(here, step)
    return here


BUILT_IN: Final = _built_in()
"""Every leaf as the model has it: also the policy of a write that no policy names."""


def layered(defaults: Settings, own: Settings) -> Settings:
    """Return a tool's settings. Its path is /tools/<tool> unless it says otherwise."""
    merged = BUILT_IN | _filled(defaults) | _filled(own)
    tool = own.get("tool")
    if tool is not None and "match.path" not in own:
        path = BROKEN if tool.value is BROKEN else f"/tools/{tool.value}"
        merged["match.path"] = Setting(path, None)
    return merged


def _filled(layer: Settings) -> Settings:
    """Return a layer with what its preset fills in; a key's place that it names leaves no other from below."""
    filled: Settings = {}
    preset = layer.get("upstream.preset")
    if preset is not None and preset.value is not BROKEN:
        by = f"preset {preset.value}"
        fields = PRESETS.get(preset.value, {})
        filled = {name: Setting(fields.get(name), preset.place, by) for name in (HEADER, BODY, HONOURS)}
    for one, other in ((HEADER, BODY), (BODY, HEADER)):
        if one in layer and other not in layer and layer[one].value is not None:
            filled[other] = Setting(None, layer[one].place)
    return filled | layer


def build(settings: Settings) -> ToolPolicy:
    """Return the policy that whole and unbroken settings describe."""
    below: dict[str, dict[str, Any]] = {name: {} for name in ("", *PARTS, *OPTIONAL)}
    for path, leaf in LEAVES.items():
        value = settings[path].value
        assert value is not BROKEN, path
        part, _, name = leaf.target.rpartition(".")
        below[part][name] = value
    upstream, probe = below["upstream"], below["unknown.probe"]
    del upstream["preset"], probe["trust"]  # the rules have seen to it that a time goes with trust: after
    header, body = upstream.pop("idempotency_header"), upstream.pop("idempotency_body")
    upstream["idempotency"] = header or body
    for name, (optional, needed) in OPTIONAL.items():
        above, _, field = name.rpartition(".")
        below[above][field] = None if below[name][needed] is None else optional(**below[name])
    return ToolPolicy(**below[""], **{name: part(**below[name]) for name, part in PARTS.items()})
