"""Simulated tools served within the test, whose time stands still unless the test moves it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from ruamel.yaml import YAML

from evaluation.tools.api import Api
from evaluation.tools.audit import Audit, Page
from evaluation.tools.script import Script, script_from

IDS = {"X-Run-Id": "run_1", "X-Tool-Call-Id": "call_1", "X-User-Id": "usr_1", "X-Tenant-Id": "acme"}


def scripted(text: str) -> Script:
    """Return a script from its YAML."""
    return script_from(YAML(typ="safe", pure=True).load(text) or {}, Path("script.yaml"))


class Served:
    """The tools' client; `now` is their clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.client: TestClient[Any, Any]

    async def ask(
        self, tool: str = "create_ticket", body: bytes = b'{"a": 1}', method: str = "POST", **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Make one request, with `X_Simulate="slow"` for its header fields; return status, answer and header fields."""
        sent = IDS | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(method, f"/tools/{tool}", data=body, headers=sent) as response:
            return response.status, await response.json(), response.headers.copy()

    async def get(self, path: str) -> Any:
        """Return the JSON that a path answers 200 with."""
        async with self.client.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def audit(self, query: str = "") -> Page:
        """Return the audit."""
        return msgspec.convert(await self.get(f"/_tools/audit?{query}"), Page)


ServedFactory = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@pytest.fixture
def served() -> ServedFactory:
    """Serve tools by a script's text, on an audit of their own unless the test gives one."""

    @contextlib.asynccontextmanager
    async def start(script: str = "", audit: Audit | None = None) -> AsyncIterator[Served]:
        world = Served()
        api = Api(scripted(script), audit or Audit(), lambda: world.now)
        async with TestClient(TestServer(api.application())) as world.client:
            yield world

    return start
