"""An operator's desk: a small world, and the admin port of its first process over HTTP."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from policies.live import LivePolicies
from process.admission import Admission
from process.tokens import Tokens
from proxy.admin_port import AdminPort
from proxy.heartbeat import Heartbeat
from tests.proxy.house import policy, policy_folder
from tests.proxy.scripted import Cuts
from tests.proxy.world import World, arrival, told, world

RULING = {"outcome": "not_executed", "reason": "OPS-1: no such ticket", "actor": "ada"}
JSON = {"Content-Type": "application/json"}


class Desk:
    """A world, and the admin port of its first process."""

    def __init__(self, now: World, client: TestClient[Any, Any], policies: Path) -> None:
        self.world = now
        self.client = client
        self.policies = policies

    async def get(self, path: str, **headers: str) -> ClientResponse:
        """Ask."""
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, told: Any = None, **headers: str) -> ClientResponse:
        """Decide."""
        data = io.BytesIO(json.dumps(told or {}).encode())
        return await self.client.post(path, data=data, headers=JSON | headers)

    async def unknown(self, call: str = "call_1") -> str:
        """Make a call whose reply is lost and return its operation."""
        asked = arrival(call)
        self.world.tool.will(Cuts(after_s=0))
        assert told(await self.world.a.answer(asked))[0] == 502
        return asked.ref.operation


@contextlib.asynccontextmanager
async def desk(folder: Path, *, token: str = "") -> AsyncIterator[Desk]:
    """Yield a world with an admin port; with `token`, one that asks for it."""
    policies = policy_folder(folder / "policies", policy("create_ticket"))
    tokens = None
    if token:
        (folder / "token").write_text(token + "\n")
        tokens = Tokens(str(folder / "token"))
    async with world() as now:
        heartbeat = Heartbeat(now.a.works, "p-a", lambda: 0)
        await heartbeat.beat()
        port = AdminPort(
            now.a.works, LivePolicies(policies), heartbeat, Admission("127.0.0.1", tokens, "--admin-token-file")
        )
        async with TestClient(TestServer(port.application())) as client:
            yield Desk(now, client, policies)
