"""Notifications of runs' statuses, signed as Standard Webhooks are, and lost, doubled or reordered on request.

They are thin: who is told asks the API what is true. Each is tried once; that is the worst a receiver must live with.
Where several receivers are named they take turns, as behind a load balancer, which passes over one that refuses the
connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import aiohttp
import msgspec
from msgspec import Struct
from standardwebhooks import Webhook

from evaluation.assistants.script import Fate
from evaluation.assistants.things import Run

LATE_S = 0.5
ANSWER_S = 5.0


class Receiver(Struct, frozen=True):
    """Who is told, and how many seconds away that is."""

    url: str
    away_s: float = 0.0


class Webhooks:
    """Sends to `receivers`, signed with `secret` (base64, `whsec_` before it if one likes)."""

    def __init__(self, receivers: Sequence[Receiver], secret: str, fate: Fate) -> None:
        self.receivers = receivers
        self._signer = Webhook(secret)
        self.fate = fate
        self._number = 0
        self._turn = 0
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def notify(self, run: Run) -> None:
        """Send a run's status, in a task of its own, if it is one that is notified."""
        if self.fate.script.notify and run.status not in self.fate.script.notify:
            return
        self._number += 1
        event = {
            "type": f"thread.run.{run.status}",
            "data": {"thread_id": run.thread_id, "run_id": run.id, "status": run.status},
        }
        task = asyncio.get_running_loop().create_task(self._send(run.name, f"msg_{self._number:06d}", event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _send(self, subject: str, message_id: str, event: Mapping[str, object]) -> None:
        fate = self.fate
        if fate.strikes("webhook_lost", subject):
            return
        times = 2 if fate.strikes("webhook_twice", subject) else 1
        if fate.strikes("webhook_late", subject):
            await asyncio.sleep(LATE_S)
        for _ in range(times):
            await self._post(message_id, msgspec.json.encode(event).decode())

    async def _post(self, message_id: str, body: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S))
        at = datetime.now(tz=UTC)
        headers = {
            "webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._signer.sign(message_id, at, body), "Content-Type": "application/json",
        }  # fmt: skip
        for _ in self.receivers:
            receiver = self.receivers[self._turn % len(self.receivers)]
            self._turn += 1
            if receiver.away_s:
                await asyncio.sleep(receiver.away_s)
            try:
                async with self._session.post(receiver.url, data=body, headers=headers) as answer:
                    await answer.read()
            except aiohttp.ClientConnectorError:
                continue
            except (aiohttp.ClientError, TimeoutError):
                return
            return  # whatever was answered; and where nobody listens: that is what polling is for
