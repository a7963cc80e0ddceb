"""Other people's log records: lines of key=value and JSON objects, told apart by what they say.

Each rule of `kind_of` is one sentence about words that many systems use. A record that no rule knows is read, counted
and let go.
"""

from __future__ import annotations

import re
from typing import Any

from evaluation.triage.event import TEXT_MAX, Event, Kind
from evaluation.triage.naming import fields_in, plain
from evaluation.triage.records import Line, Object

PAIR = re.compile(r'([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\s"\[]\S*)')
LEVELS = {"TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL", "AUDIT"}
SERVICES = ("service", "logger", "component", "app", "source")
TALK = ("msg", "message", "event", "type")

RUN_STATUS = re.compile(r"\brun[_.]status\b(?:\s+([^\s/=]+)/([^\s/=]+))?(?:\s*=\s*(\w+))?")
RUN_PATH = re.compile(r"/threads/([^/\s?\"]+)/runs/([^/\s?\"]+)")
ACT = re.compile(r"\b(?:POST|PUT|PATCH|DELETE)\s+\S*?/tools/([\w.-]+)")
ANSWERED = re.compile(r"\b([1-5]\d\d) (?:OK|Created|Accepted|No Content|[A-Z][a-z]+(?: [A-Z][a-z]+)*)\b")
TIMEOUT = re.compile(r"\b(?:timed?[ -]?out|deadline exceeded)\b", re.IGNORECASE)
LOST = re.compile(
    r"\b(?:connection (?:reset|closed|lost|aborted)|broken pipe|unexpected eof|reset by peer)\b", re.IGNORECASE
)
RESTART = re.compile(r"\brestart(?:ed|ing|s)?\b|\boomkilled\b|\bcrash(?:ed|loop\w*)?\b", re.IGNORECASE)
MESSAGE = re.compile(
    r"\b(?:user[ _.]message|message[ _.](?:created|received)|turn[ _.](?:created|received))\b", re.IGNORECASE
)
SUBMIT = re.compile(r"\bsubmit(?:_tool_outputs|ted|ting)?\b", re.IGNORECASE)
AGAIN = re.compile(r"\b(?:duplicate|repeated|already|again)\b", re.IGNORECASE)


def from_line(line: Line) -> Event | None:
    """Read a text record; None for one that is no log line, or that tells nothing about a call."""
    pairs = {name: value.strip('"') for name, value in PAIR.findall(line.rest)}
    words = PAIR.sub(" ", line.rest)
    head = words.split(None, 2)[:2]
    level = next((token for token in head if token.upper().rstrip(":") in LEVELS), "")
    if not level and not pairs:
        return None
    service = next((token for token in head if token != level), "") if level else ""
    if service in line.rest.split(None, 3)[:3]:
        words = words.replace(service, " ", 1)
    else:
        service = ""
    service = service.strip(":[]") or next((pairs[name] for name in SERVICES if name in pairs), "")
    talk = " ".join(pairs.pop(name) for name in TALK if name in pairs)
    return _event(words.replace(level, " ", 1) + " " + talk, pairs, service, line.text, audit=level == "AUDIT")


def from_object(found: Object) -> Event | None:
    """Read a JSON record; None for one that tells nothing about a call."""
    pairs = found.value
    service = next((str(pairs[name]) for name in SERVICES if isinstance(pairs.get(name), str)), "")
    words = [str(pairs[name]) for name in TALK if isinstance(pairs.get(name), str)]
    words += [str(name) for name, value in pairs.items() if isinstance(value, dict)]
    audit = str(pairs.get("level", "")).upper() == "AUDIT"
    return _event(" ".join(words), pairs, service, found.text, audit=audit)


def _event(words: str, pairs: dict[str, Any], service: str, text: str, *, audit: bool) -> Event | None:
    fields = fields_in(pairs)
    whole = f"{words} {text}" if "/" in text else words
    if (status := RUN_STATUS.search(words)) is not None:
        fields |= {"thread": status[1], "run": status[2]} if status[1] else {}
        fields["detail"] = status[3] or str(pairs.get("status", ""))
    elif (path := RUN_PATH.search(whole)) is not None:
        fields.setdefault("thread", plain(path[1]))
        fields.setdefault("run", plain(path[2]))
    if (answered := ANSWERED.search(words)) is not None:
        fields.setdefault("status", int(answered[1]))
    if (act := ACT.search(words)) is not None:
        fields["tool"] = plain(act[1])
    kind = kind_of(words, fields, text, audit=audit, act=act is not None, run_status=status is not None)
    if kind is None:
        return None
    if kind == "timeout" and "tool" not in fields and (first := re.match(r"\s*([a-z]\w+)\s", words)) is not None:
        fields["tool"] = first[1]
    if kind != "asked":
        fields.pop("calls", None)
    service = plain(service)
    if "replica" not in fields and "/" in service:
        fields["replica"] = service.rpartition("/")[2]
    return Event(kind=kind, service=service, text=plain(text, TEXT_MAX), **fields)


def kind_of(words: str, fields: dict[str, Any], text: str, *, audit: bool, act: bool, run_status: bool) -> Kind | None:
    """Say what a record tells, None if it tells nothing about a call."""
    status = fields.get("status", 0)
    succeeded = 200 <= status < 400
    if run_status:
        return "asked" if fields.get("detail") == "requires_action" else None
    if SUBMIT.search(words):
        return "resubmitted" if AGAIN.search(words) else "submitted"
    if "request" in fields and TIMEOUT.search(words):
        return "timeout"
    if ("audit" in fields and (succeeded or not status)) or (audit and succeeded and "tool" in fields):
        return "effect"
    if "request" in fields and (LOST.search(words) or status >= 500):
        return "lost"
    if succeeded and (act or ("request" in fields and ANSWERED.search(words))):
        return "effect"
    if act and not status:
        return "sent"
    if RESTART.search(words) or "OOMKilled" in text:
        return "restart"
    if MESSAGE.search(words):
        return "message"
    if "run" in fields and RUN_PATH.search(text) and "request" in words:
        return "model"
    return "timeout" if TIMEOUT.search(words) and {"run", "call", "tool"} & set(fields) else None
