"""What every test shares: the event loop, and the marks that choose it.

Tests run on uvloop, as the processes do. A test that is about the loop itself (cancellation, connection ends, signals) runs
on both: `@pytest.mark.loops("asyncio", "uvloop")`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give a test the loops that its `loops` mark names, and uvloop where it names none."""
    mark = item.get_closest_marker("loops")
    names = mark.args if mark else ("uvloop",)
    return {name: LOOPS[name] for name in names}
