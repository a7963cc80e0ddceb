"""The user's message came twice (a second click, a client's retry), and each made a run of its own."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.triage.mechanisms.two_pollers import explained_by_retry
from evaluation.triage.story import Story
from evaluation.triage.weighing import DECISIVE, STRONG, WEAK, Evidence, Join, Weighed, places, verdict

NAME = "repeated-message"
TITLE = "the user's message came twice and each made a run of its own"
SETTLE = "an id of the user's turn, made by the client, on messages and runs, and a hash of the message's text"


def weigh(story: Story) -> Weighed:
    """Weigh it."""
    by: Join = "time" if story.by_time else "ids"
    evidence = [*_runs(story), *_messages(story)]
    against = [*explained_by_retry(story), *_one_run(story, by)]
    return Weighed(
        mechanism=NAME, title=TITLE, role="cause", verdict=verdict(evidence, against), evidence=tuple(evidence),
        against=tuple(against), settle=SETTLE,
    )  # fmt: skip


def _runs(story: Story) -> Iterator[Evidence]:
    runs = sorted({one.run for one in story.executions if one.run})
    if len(runs) > 1:
        lines = [event for event in story.of("effect", "sent") if event.run in runs]
        yield Evidence(f"the executions are of {len(runs)} runs: {', '.join(runs)}", DECISIVE, "ids", places(lines))


def _messages(story: Story) -> Iterator[Evidence]:
    messages = list(story.of("message"))
    if len(messages) > 1:
        alike = {event.payload for event in messages}
        same = len(alike) == 1 and alike != {""}
        what = "the same message came" if same else "messages came"
        yield Evidence(
            f"{what} {len(messages)} times before the last execution", STRONG if same else WEAK, "ids", places(messages)
        )


def _one_run(story: Story, by: Join) -> Iterator[Evidence]:
    runs = {one.run for one in story.executions}
    if len(runs) == 1 and runs != {""}:
        lines = places(event for event in story.of("effect", "sent") if event.run)
        yield Evidence("all executions are of one run", DECISIVE, "ids", lines)
    elif len(story.runs) == 1:
        lines = places(event for event in story.events if event.run == story.runs[0])
        yield Evidence(f"{story.runs[0]} is the only run in these lines at that time", WEAK, by, lines[:4])
