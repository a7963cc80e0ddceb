"""The step was made anew: a model replica restarted, and the same call came back, with its old id or a new one."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.triage.event import Event
from evaluation.triage.mechanisms.two_pollers import doubled, explained_by_retry
from evaluation.triage.ours import PROXY
from evaluation.triage.story import Story, start
from evaluation.triage.weighing import DECISIVE, STRONG, WEAK, Evidence, Join, Weighed, places, verdict

NAME = "regenerated-step"
TITLE = "the step was generated again after a restart, and its call dispatched again"
SETTLE = (
    "the tool call id on each execution, and the ids that each model response contained, with the response's own id"
)


def weigh(story: Story) -> Weighed:
    """Weigh it."""
    by: Join = "time" if story.by_time else "ids"
    evidence = [*_other_ids(story), *_renewed(story, by), *_restarts(story)]
    if evidence:
        evidence += doubled(story, by)
    against = [*explained_by_retry(story), *_same_ids(story, by), *_planned_twice(story)]
    return Weighed(
        mechanism=NAME, title=TITLE, role="cause", verdict=verdict(evidence, against), evidence=tuple(evidence),
        against=tuple(against), settle=SETTLE,
    )  # fmt: skip


def _other_ids(story: Story) -> Iterator[Evidence]:
    """Executions of one run under different tool call ids."""
    for run in story.runs:
        calls = {one.call: one for one in story.executions if one.run == run and one.call}
        if len(calls) > 1:
            lines = [event for event in story.of("effect", "sent") if event.run == run and event.call in calls]
            yield Evidence(
                f"run {run} had the same effect under {len(calls)} tool call ids: {', '.join(sorted(calls))}",
                DECISIVE, "ids", places(lines),
            )  # fmt: skip


def _renewed(story: Story, by: Join) -> Iterator[Evidence]:
    renewed = [event for event in story.of("asked") if "renewed=" in event.detail]
    if renewed:
        yield Evidence("the coordinator was shown earlier calls under new ids", STRONG, by, places(renewed))


def _restarts(story: Story) -> Iterator[Evidence]:
    last = max((begun for one in story.executions if (begun := start(one)) is not None), default=None)
    # A sidecar makes no steps: that it began says nothing here.
    others = [event for event in story.of("restart") if event.service != PROXY]
    restarts = [event for event in others if event.at is not None and last is not None and event.at < last]
    if restarts:
        which = ", ".join(dict.fromkeys(event.replica or event.service for event in restarts))
        yield Evidence(f"{which} restarted before the last execution began", WEAK, "time", places(restarts))


def _same_ids(story: Story, by: Join) -> Iterator[Evidence]:
    calls = {one.call for one in story.executions}
    if len(calls) == 1 and calls != {""}:
        lines = places(event for event in story.of("effect", "sent") if event.call)
        yield Evidence("all executions have one tool call id: it was not made anew", STRONG, "ids", lines)
        return
    told: list[Event] = [event for event in story.events if event.call or event.calls]
    ids = {name for event in told for name in (event.call or event.calls).split(",")}
    if len(told) > 1 and len(ids) == 1 and calls == {""}:
        yield Evidence(f"the run's lines name one tool call id throughout: {ids.pop()}", WEAK, by, places(told))


def _planned_twice(story: Story) -> Iterator[Evidence]:
    calls = {one.call for one in story.executions if one.call}
    planned = [event for event in story.of("asked") if len(calls) > 1 and calls <= set(event.calls.split(","))]
    if planned:
        yield Evidence(
            "one requires_action asked for all of these calls at once: the model planned the same call twice",
            DECISIVE, "ids", places(planned[:1]),
        )  # fmt: skip
