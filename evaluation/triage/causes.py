"""All mechanisms by which a call runs twice, weighed against what the logs have about one."""

from __future__ import annotations

from evaluation.triage.mechanisms import late_dedup, new_ids, repeated_message, retry, two_pollers
from evaluation.triage.story import Story
from evaluation.triage.weighing import Weighed, ranked

MECHANISMS = (retry, two_pollers, new_ids, repeated_message, late_dedup)
"""Asked in this order, which also breaks ties."""


def weigh(story: Story) -> tuple[Weighed, ...]:
    """Return all mechanisms, the best supported first."""
    return ranked(mechanism.weigh(story) for mechanism in MECHANISMS)
