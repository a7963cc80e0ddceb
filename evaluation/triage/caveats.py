"""What has to be kept in mind about findings: clocks, joins by time, hashes, and what was not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evaluation.triage.event import Kind
from evaluation.triage.reading import FileRead
from evaluation.triage.spill import Spill
from evaluation.triage.weighing import seconds

TIMED: tuple[Kind, ...] = ("sent", "timeout", "effect", "asked", "submitted", "resubmitted", "restart", "model")


def find_caveats(spill: Spill, files: Sequence[FileRead]) -> list[str]:
    """Return the caveats, as sentences."""
    return [*_of_clocks(spill), *_of_joins(spill), *_of_executions(spill), *_of_files(files)]


def _of_clocks(spill: Spill) -> Iterator[str]:
    services = spill.value("SELECT count(DISTINCT service) FROM event WHERE at IS NOT NULL")
    if services < 2:
        return
    yield (
        f"times of {services} services are compared as written: where lines of two services are close together, their "
        "order is as good as their clocks"
    )
    skewed = spill.run(
        "SELECT sent.service, effect.service, max(sent.at - effect.at), count(*) "
        "FROM event AS effect INDEXED BY by_kind JOIN event AS sent INDEXED BY by_request "
        "ON sent.request = effect.request AND sent.request <> '' "
        "WHERE effect.kind = 'effect' AND sent.kind = 'sent' AND effect.at < sent.at "
        "GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 10"
    )
    for sender, doer, most, count in skewed:
        yield (
            f"clocks disagree: {doer} has {count} effects before {sender} sent the request, by up to {seconds(most)}: "
            "orders closer than that are not known"
        )


def _of_joins(spill: Spill) -> Iterator[str]:
    if spill.value("SELECT count(*) FROM execution WHERE run = ''"):
        yield "executions that name no run are tied to one by time alone, and only where one run was active"
    if spill.value("SELECT count(DISTINCT hashed) FROM execution WHERE payload <> ''") > 1:
        yield "Holdfast's payload hashes are keyed and were not compared with those of others"


def _of_executions(spill: Spill) -> Iterator[str]:
    lonely = spill.value("SELECT count(*) FROM execution WHERE payload = '' AND (run = '' OR call = '')")
    if lonely:
        yield f"{lonely} executions have neither a payload hash nor run and call: whether they ran twice is not known"
    unplaced = spill.value("SELECT count(*) FROM execution WHERE at IS NULL AND payload <> ''")
    if unplaced:
        yield f"{unplaced} executions have no time: they were compared by run and tool call alone"
    if spill.value("SELECT count(*) FROM execution WHERE began_guessed"):
        yield "where a line has a duration and no start, its time is taken for the end"
    unknown = spill.value(
        "SELECT count(DISTINCT operation) FROM event WHERE kind = 'unknown' AND operation <> '' "
        "AND operation NOT IN (SELECT operation FROM execution)"
    )
    if unknown:
        yield (
            f"{unknown} operations ended unknown and no effect of theirs is in these logs: "
            "`holdfast ops list --state unknown` has them, if they still are"
        )


def _of_files(files: Sequence[FileRead]) -> Iterator[str]:
    for file in files:
        if file.broken:
            yield f"{file.name} could not be read beyond line {file.lines}: {file.broken}"
        if file.undated:
            yield f"{file.name} has times of day and no date: they were given that of the other files, if it is one day"
        if file.without_zone:
            yield f"{file.name} has {file.without_zone} times without a zone: they were taken for UTC"
