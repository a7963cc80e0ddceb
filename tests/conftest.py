"""What every test shares: the event loop and the marks that choose it, the search effort, and no silent skips in CI.

Tests run on uvloop, as the processes do. A test that is about the loop itself (cancellation, connection ends, signals)
runs on both: `@pytest.mark.loops("asyncio", "uvloop")`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.effort import LONGER

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

# A run that failed must fail again when it is repeated: searches are derandomized, and short, since they look at the
# same examples each time; but for `make nightly`, which is there to look further. Deadlines are off because a busy
# machine is not a bug; pytest's own time-out catches hangs.
settings.register_profile("default", max_examples=50, deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "longer",
    deadline=None,
    max_examples=70 * LONGER,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default" if LONGER == 1 else "longer")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give a test the loops that its `loops` mark names, and uvloop where it names none."""
    mark = item.get_closest_marker("loops")
    names = mark.args if mark else ("uvloop",)
    return {name: LOOPS[name] for name in names}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run that skipped anything: what a machine at home may lack, CI installs."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI"):
        return
    skipped = len(reporter.stats.get("skipped", ()))
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{skipped} skipped, and this is CI: that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
