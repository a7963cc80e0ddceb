"""A time-out or a lost answer, and the call was sent again: the seeds' first incident."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from evaluation.triage.event import Event
from evaluation.triage.executions import Execution
from evaluation.triage.story import Story, start
from evaluation.triage.weighing import DECISIVE, STRONG, WEAK, Evidence, Join, Weighed, places, seconds, verdict

NAME = "timeout-retry"
STILL_RAN = "time-out, then retried while the first attempt still ran"
HAD_RUN = "time-out or lost answer, then retried although the first attempt had run"
SETTLE = (
    "a line for each attempt by whoever calls the tool: sent, timed out or answered, with request id, attempt and limit"
)

SOON_MS = 30_000
"""A retry follows what it retries within this; back-off included."""


def weigh(story: Story) -> Weighed:
    """Weigh it."""
    evidence = [*_timed_out(story), *_cut_off(story), *_overlaps(story), *_loose_timeouts(story)]
    against = [] if retried(story) else [*_in_order(story), *_no_timeout(story, evidence)]
    title = STILL_RAN if retried(story) or any(_overlapping(story)) else HAD_RUN
    return Weighed(
        mechanism=NAME, title=title, role="cause", verdict=verdict(evidence, against), evidence=tuple(evidence),
        against=tuple(against), settle=SETTLE,
    )  # fmt: skip


def retried(story: Story) -> list[tuple[Event, Execution, Execution]]:
    """Return each time-out whose request had its effect all the same, with that execution and the one that followed."""
    return [
        (event, one, other)
        for event in story.of("timeout", "lost")
        for one in story.executions
        if event.request and one.request == event.request
        for other in story.executions
        if other is not one and _follows(event, other)
    ]


def _follows(event: Event, other: Execution) -> bool:
    began = start(other)
    return event.at is not None and began is not None and 0 <= began - event.at <= SOON_MS


def _timed_out(story: Story) -> Iterator[Evidence]:
    for event, one, other in retried(story):
        began = start(other)
        assert event.at is not None and began is not None  # noqa: PT018  # `_follows` has seen to both
        sent = [found for found in story.of("sent") if found.request in {one.request, other.request}]
        ended = [found for found in story.of("effect") if found.audit == one.audit or found.request == one.request]
        what = "timed out" if event.kind == "timeout" else "lost its answer"
        after = f" after {seconds(event.took_ms)}" if event.took_ms else ""
        yield Evidence(
            f"request {one.request} {what}{after}; {seconds(began - event.at)} later the same call was sent as "
            f"{other.request or 'another request'}",
            DECISIVE, "ids", places([event, *sent]),
        )  # fmt: skip
        if one.at is not None and one.at > began:
            heard = "was answered" if one.heard else "took effect"
            yield Evidence(
                f"{one.request} was still under way then: it {heard} as {one.name} {seconds(one.at - began)} after "
                f"{other.request or 'the other'} had been sent",
                STRONG, "ids", places(ended),
            )  # fmt: skip


def _cut_off(story: Story) -> Iterator[Evidence]:
    for one in story.executions[:-1]:
        if one.cut:
            lines = [event for event in story.of("effect") if event.audit == one.audit]
            yield Evidence(
                f"{one.name} took effect and its answer was cut off: its caller cannot know",
                STRONG,
                "ids",
                places(lines),
            )


def _overlapping(story: Story) -> Iterator[tuple[Execution, Execution]]:
    for one, other in pairwise(story.executions):
        if one.at is not None and other.began is not None and not other.began_guessed and other.began < one.at:
            yield one, other


def _overlaps(story: Story) -> Iterator[Evidence]:
    if retried(story):
        return
    for one, other in _overlapping(story):
        assert one.at is not None and other.began is not None  # noqa: PT018  # as `_overlapping` has it
        apart = other.began - (start(one) or other.began)
        lines = [event for event in story.of("effect") if event.audit in {one.audit, other.audit}]
        yield Evidence(
            f"{other.name} was asked for {seconds(apart)} after {one.name} and {seconds(one.at - other.began)} before "
            "that was done: the two ran at the same time",
            STRONG if apart >= 1_000 else WEAK, "ids", places(lines),
        )  # fmt: skip


def _loose_timeouts(story: Story) -> Iterator[Evidence]:
    """Time-outs that name the run, and no request: they fit, and prove nothing about these executions."""
    loose = [event for event in story.of("timeout") if not event.request]
    if loose:
        by: Join = "time" if story.by_time else "ids"
        yield Evidence("a time-out is told of this run, without saying of which request", STRONG, by, places(loose))


def _in_order(story: Story) -> Iterator[Evidence]:
    pairs = list(pairwise(story.executions))
    over = [(a, b) for a, b in pairs if a.at is not None and b.began is not None and a.at <= b.began]
    if pairs and len(over) == len(pairs) and not any(one.cut for one in story.executions[:-1]):
        first, second = over[0]
        assert first.at is not None and second.began is not None  # noqa: PT018  # as just asked
        lines = [event for event in story.of("effect") if event.audit in {first.audit, second.audit}]
        guess = ", if its time is that of its end," if second.began_guessed else ""
        took = "" if start(first) is None else f" (it took {seconds(first.at - (start(first) or first.at))})"
        yield Evidence(
            f"{first.name} was done{took} {seconds(second.began - first.at)} before {second.name}{guess} began: the "
            "first did not still run. That its answer was lost on the way is not excluded",
            WEAK, "ids", places(lines),
        )  # fmt: skip


def _no_timeout(story: Story, evidence: list[Evidence]) -> Iterator[Evidence]:
    if evidence or any(story.of("timeout", "lost")):
        return
    says = "no line tells of a time-out or a lost answer for any of these requests"
    if any(story.of("sent")):
        yield Evidence(says, WEAK, "absence")
    else:  # who writes no line for an attempt writes none for its time-out
        yield Evidence(f"{says}; but no line tells of an attempt at all, so that says nothing", 0, "absence")
