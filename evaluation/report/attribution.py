"""What was done against what was meant, user by user, and how each error came about as far as the trace can tell.

Within one identity nobody can say which effect is the duplicate. So of its duplicates as many are put down to a turn
that was sent to a second region as that turn asked for, then as many to one that was resent, then to one that the user
said again, and the rest was made below: by retries, by calls that were asked for again, by processes that died.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from evaluation.replay.truth import Effects
from evaluation.report.share import Share, user_of


def attribute(
    sums: Mapping[str, Counter[str]],
    share: Share,
    found: Effects,
    planned: Effects,
    told: Effects | None,
    moved: Effects,
) -> None:
    """Add to the sums what the effects that were found are, against what was meant and against what was planned.

    `moved` are the effects that turns ask for which were sent to a second region. `told` says how often a run was told
    that an effect has a result; None where nobody wrote that down, and then no lost effect can be called silent.
    """
    for identity in found.keys() | share.meant.keys() | planned.keys():
        user = user_of(identity.tenant, identity.user)
        there, meant, plan = found.get(identity, 0), share.meant[identity], planned.get(identity, 0)
        duplicates, lost = max(there - meant, 0), max(meant - there, 0)
        elsewhere = min(duplicates, moved.get(identity, 0))
        resent = min(duplicates - elsewhere, share.resent[identity])
        said_again = min(duplicates - elsewhere - resent, share.said_again[identity])
        missing = 0 if there else lost
        counted = {
            "meant": meant,
            "plan": plan,
            "observed": there,
            "duplicates": duplicates,
            "duplicates_beyond_plan": max(there - plan, 0),
            "hidden_by_plan": duplicates - max(there - plan, 0),
            "duplicates_resent": resent,
            "duplicates_said_again": said_again,
            "duplicates_moved": elsewhere,
            "duplicates_made": duplicates - resent - said_again - elsewhere,
            "lost": lost,
            "suppressed": lost - missing,
            "missing": missing,
            "missing_silently": 0 if told is None else min(missing, told.get(identity, 0)),
        }
        for name, times in counted.items():
            if times:
                sums[name][user] += times
