"""Why nothing stopped it: deduplication that is keyed, or written, after the effect has happened."""

from __future__ import annotations

from collections.abc import Iterator

from evaluation.triage.event import Event
from evaluation.triage.story import Story
from evaluation.triage.weighing import DECISIVE, STRONG, Evidence, Join, Weighed, places, seconds, verdict

NAME = "late-dedup"
TITLE = "deduplication stands at submission, after the effect: it could not stop the second execution"
SETTLE = "when a dedup key is claimed and by which replica, and the audit id whose output is being handed in"


def weigh(story: Story) -> Weighed:
    """Weigh it."""
    by: Join = "time" if story.by_time else "ids"
    evidence = [*_misses(story, by), *_noticed(story, by)]
    against = [*_hits(story, by)]
    return Weighed(
        mechanism=NAME, title=TITLE, role="guard", verdict=verdict(evidence, against), evidence=tuple(evidence),
        against=tuple(against), settle=SETTLE,
    )  # fmt: skip


def _times(story: Story) -> list[int]:
    return sorted(one.at for one in story.executions if one.at is not None)


def _misses(story: Story, by: Join) -> Iterator[Evidence]:
    done = _times(story)
    for event in story.events:
        if event.dedup.upper() != "MISS" or event.at is None or not done or event.at < done[0]:
            continue
        where = f" and {seconds(done[-1] - event.at)} before the last" if event.at < done[-1] else ""
        effects = [effect for effect in story.of("effect") if effect.at in done]
        yield Evidence(
            f"dedup of {_key(event)} was a MISS {seconds(event.at - done[0])} after the first effect{where}: the "
            "record that was to prevent a second one did not exist until then",
            DECISIVE, by, places([event, *effects]),
        )  # fmt: skip
        return


def _key(event: Event) -> str:
    return event.detail or event.call or event.run or "the output"


def _noticed(story: Story, by: Join) -> Iterator[Evidence]:
    done = _times(story)
    for event in story.of("resubmitted"):
        if event.at is not None and done and event.at >= done[-1]:
            yield Evidence(
                f"the second output was noticed {seconds(event.at - done[-1])} after the last of the effects: too late "
                "for them, in time for the run",
                STRONG, by, places([event]),
            )  # fmt: skip
            return


def _hits(story: Story, by: Join) -> Iterator[Evidence]:
    done = _times(story)
    hits = [
        event
        for event in story.events
        if event.dedup.upper() == "HIT" and event.at is not None and done and event.at < done[-1]
    ]
    if hits:
        yield Evidence(
            "dedup was a HIT before the last effect, and that happened all the same", STRONG, by, places(hits)
        )
