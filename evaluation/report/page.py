"""The findings as one page that stands for itself: no script, no network, nothing beside it.

Every plot has its table below it and its numbers as text; light, dark and paper are the style sheet's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from evaluation.bench.report import Table
from evaluation.report.findings import Findings
from evaluation.report.gate import Decision, Held
from evaluation.report.pictures import Picture, pictures
from evaluation.report.tables import bound, cell, tables
from evaluation.report.text import heading, is_words
from evaluation.variants.table import VARIANTS

STYLE = Path(__file__).with_name("page.css")
TITLE = "Does a tool call happen once?"
REASONS_MAX = 4
"""Beside a verdict; the gate's own table has them all."""

_WITH_INTERVAL = re.compile(r"^(?P<value>[^\[]+) \[(?P<bounds>.+)\]$")


def page(findings: Findings) -> str:
    """Return the report as an HTML document."""
    drawn = pictures(findings)
    shown = tables(findings)
    sections = [_section(table, drawn.get(table.title.partition(" ")[0], ())) for table in shown[1:]]
    contents = "".join(f'<li><a href="#{_anchor(table)}">{escape(table.title)}</a></li>' for table in shown[1:])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{TITLE} A replay of {sum(findings.plan.turns.values()):,} turns</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{TITLE}</h1>\n<p class="lead">{escape(heading(findings))}</p>\n'
        f"{_variants(findings)}\n{_verdicts(findings, shown[0])}\n<nav><ul>{contents}</ul></nav>\n{_lines(findings)}\n"
        f"{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _variants(findings: Findings) -> str:
    """Return what each variant is, as far as it is one of the table's."""
    told = {one.name: one.sentence for one in VARIANTS if one.name in findings.plan.variants}
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(sentence)}</dd>" for name, sentence in told.items())
    return f"<dl>{items}</dl>" if items else ""


def _verdicts(findings: Findings, table: Table) -> str:
    told = "".join(_verdict(one, one.variant in findings.gate.candidates) for one in findings.decisions)
    return f'<ul class="verdicts">{told}</ul>\n<p class="note">{escape(table.note)}</p>'


def _verdict(decision: Decision, candidate: bool) -> str:
    lines = [name.replace("_", " ") for name in dict.fromkeys(held.line.figure for held in decision.decided)]
    why = ", ".join(lines[:REASONS_MAX]) if lines else "all lines are met"
    why += f", and {len(lines) - REASONS_MAX} more" if len(lines) > REASONS_MAX else ""
    kind = decision.verdict.replace(" ", "-")
    return (
        f"<li{' class=' + chr(34) + 'candidate' + chr(34) if candidate else ''}><b>{escape(decision.variant)}: "
        f'<span class="{kind}">{decision.verdict}</span></b>{_alone(decision)}{escape(why)}</li>'
    )


def _alone(decision: Decision) -> str:
    """Return where the verdict would be another one."""
    others = [(name, told) for name, told in decision.environments.items() if told != decision.verdict]
    return "".join(
        f'<p>{escape(name)} alone: <span class="{told.replace(" ", "-")}">{told}</span></p>' for name, told in others
    )


def _lines(findings: Findings) -> str:
    """Return the gate line by line: what is asked for, why, and how each variant stands to it, by environment."""
    held = {
        (decision.variant, one.environment, one.line): one for decision in findings.decisions for one in decision.held
    }
    environments, variants = findings.plan.environments, [one.variant for one in findings.decisions]
    rows = []
    for line in findings.gate.lines:
        told = f"{escape(f'{line.figure} {bound(line)}')}<small>{escape(line.because)}</small>"
        first = f'<th scope="rowgroup" class="line" rowspan="{len(environments)}">{told}</th>'
        for place, environment in enumerate(environments):
            cells = "".join(_standing(held[variant, environment, line]) for variant in variants)
            name = f'<th scope="row">{escape(environment)}</th>'
            rows.append(f"<tr>{'' if place else first}{name}{cells}</tr>")
    heads = "".join(f'<th scope="col">{escape(variant)}</th>' for variant in variants)
    return (
        '<section><h2>The gate, line by line</h2><div class="wide"><table class="gate"><thead><tr>'
        f'<th scope="col" class="line">line</th><th scope="col" class="words">environment</th>{heads}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">Intervals here reach as far as the line asks '
        "for, to either side: at a confidence of 95 % they are narrower than the two-sided ones below.</p></section>"
    )


def _standing(held: Held) -> str:
    return f'<td><span class="{held.standing}">{held.standing}</span><br/>{_cell(cell(held.figure))}</td>'


def _section(table: Table, drawn: Iterable[Picture]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(one.title)}</figcaption>{_legend(one)}{one.svg}</figure>" for one in drawn
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'<section id="{_anchor(table)}"><h2>{escape(table.title)}</h2>{figures}{_table(table)}{note}</section>\n'


def _legend(picture: Picture) -> str:
    if not picture.legend:
        return ""
    parts = "".join(
        f'<li><svg viewBox="-6 -6 12 12" aria-hidden="true">{picture.sign(place)}</svg>{escape(name)}</li>'
        for place, name in enumerate(picture.legend)
    )
    return f'<ul class="legend">{parts}</ul>'


def _table(table: Table) -> str:
    words = [is_words(row[place] for row in table.rows) for place in range(len(table.columns))]
    kinds = [' class="words"' if is_words else "" for is_words in words]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, table.columns, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(told)}</td>' for kind, told in zip(kinds, row, strict=True))}</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(told: str) -> str:
    """Return a cell, an interval below its figure."""
    found = _WITH_INTERVAL.match(told)
    if found is None:
        return escape(told)
    return f"{escape(found['value'])}<small>{escape(found['bounds'].replace(', ', ' to '))}</small>"


def _anchor(table: Table) -> str:
    return re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
