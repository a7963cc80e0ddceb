"""The same `requires_action` was seen, and acted on, more than once: by two pollers, or by one that looked again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from evaluation.triage.event import Event
from evaluation.triage.mechanisms import retry
from evaluation.triage.story import Story, start
from evaluation.triage.weighing import STRONG, WEAK, Evidence, Join, Weighed, places, seconds, verdict

NAME = "two-pollers"
TITLE = "the same requires_action was acted on more than once"
SETTLE = "which coordinator replica saw each requires_action and which dispatched each call, with the tool call id"

AT_ONCE_MS = 50
"""Two requests for one run within this are one request sent twice, or two workers: nobody's next step."""


def weigh(story: Story) -> Weighed:
    """Weigh it."""
    by: Join = "time" if story.by_time else "ids"
    asked = list(story.of("asked"))
    evidence = [*_asked_again(story, asked, by), *doubled(story, by), *_apart(story)]
    against = [*explained_by_retry(story), *_one_submission(story, by), *_asked_once(asked, evidence, by)]
    return Weighed(
        mechanism=NAME, title=TITLE, role="cause", verdict=verdict(evidence, against), evidence=tuple(evidence),
        against=tuple(against), settle=SETTLE,
    )  # fmt: skip


def _asked_again(story: Story, asked: list[Event], by: Join) -> Iterator[Evidence]:
    last = max((begun for one in story.executions if (begun := start(one)) is not None), default=None)
    before = [event for event in asked if event.at is not None and last is not None and event.at <= last]
    same = {(event.run, event.step, event.calls) for event in before}
    if len(before) < 2 or len(same) == len(before):
        return
    replicas = {event.replica for event in before}
    known = "" not in replicas
    ends = [one.at for one in story.executions if one.at is not None]
    between = any(event.at is not None and ends and min(ends) <= event.at for event in before)
    where = ", once more after the first effect and before the last" if between else " before the last effect"
    who = f" by {len(replicas)} replicas" if known and len(replicas) > 1 else ""
    named = before[-1].calls or before[-1].step or before[-1].run
    handed_in = next((event.at for event in story.of("submitted") if event.at is not None), None)
    waiting = handed_in is not None and all(event.at is not None and event.at <= handed_in for event in before)
    normal = (
        "; its outputs were not handed in yet, so that a poller which looks again sees just this" if waiting else ""
    )
    yield Evidence(
        f"requires_action for {named} was seen {len(before)} times{who}{where}{normal}",
        STRONG if known and len(replicas) > 1 else WEAK, by, places(before),
    )  # fmt: skip


def doubled(story: Story, by: Join) -> Iterator[Evidence]:
    """Yield the run's requests to a model that came at the same moment."""
    model = [event for event in story.of("model") if event.at is not None]
    for one, other in pairwise(model):
        apart = (other.at or 0) - (one.at or 0)
        if one.run == other.run and apart <= AT_ONCE_MS:
            yield Evidence(
                f"the run was asked of the model twice within {seconds(max(apart, 1))}: two workers had it, or one "
                "request was sent twice",
                WEAK, by, places([one, other]),
            )  # fmt: skip
            return


def _apart(story: Story) -> Iterator[Evidence]:
    """Two executions that began together had two dispatchers: a retry waits for something first."""
    for one, other in pairwise(story.executions):
        if one.began is None or other.began is None or one.began_guessed or other.began_guessed:
            continue
        if one.request != other.request and other.began - one.began < 1_000:
            lines = [event for event in story.of("sent", "effect") if event.request in {one.request, other.request}]
            yield Evidence(
                f"{one.name} and {other.name} were asked for {seconds(other.began - one.began)} apart: nobody had "
                "waited for a time limit",
                STRONG, "ids", places(lines),
            )  # fmt: skip
            return


def explained_by_retry(story: Story) -> Iterator[Evidence]:
    """Yield the retry that already explains why the call was made again."""
    for event, one, _ in retry.retried(story)[:1]:
        yield Evidence(
            f"the time-out of {one.request} already explains why it was sent again", STRONG, "ids", places([event])
        )


def _one_submission(story: Story, by: Join) -> Iterator[Evidence]:
    handed_in = list(story.of("submitted", "resubmitted"))
    if len(handed_in) == 1:
        yield Evidence(
            "one set of outputs was handed in: a second dispatcher would have handed in its own, unless that is not in "
            "these lines",
            WEAK, by, places(handed_in),
        )  # fmt: skip


def _asked_once(asked: list[Event], evidence: list[Evidence], by: Join) -> Iterator[Evidence]:
    if len(asked) == 1 and not evidence:
        yield Evidence("requires_action was seen once in these lines", WEAK, by, places(asked))
