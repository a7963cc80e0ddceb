"""What the API keeps: threads, messages, runs, steps and tool calls, and how each is written on the wire.

Shapes are those of the Assistants API (v2) as its two public client libraries read them: every field that one of them
requires is there, unset ones as null. Times are whole Unix seconds, as on the wire.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

RunStatus = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "cancelling",
    "cancelled",
    "failed",
    "completed",
    "incomplete",
    "expired",
]
StepStatus = Literal["in_progress", "cancelled", "failed", "completed", "expired"]

ENDED: frozenset[RunStatus] = frozenset({"cancelled", "failed", "completed", "incomplete", "expired"})
"""Statuses that a run never leaves."""


class Wanted(Struct, frozen=True):
    """A tool call that the model asks for; `arguments` is a JSON object written as text."""

    tool: str
    arguments: str


class ToolCall(Struct):
    """One tool call of a step. `output` is None until it was submitted."""

    id: str
    wanted: Wanted
    output: str | None = None

    def asked(self) -> dict[str, Any]:
        """Return it as `required_action` shows it: without output, and without a word about its step."""
        function = {"name": self.wanted.tool, "arguments": self.wanted.arguments}
        return {"id": self.id, "type": "function", "function": function}

    def told(self) -> dict[str, Any]:
        """Return it as a run step shows it."""
        shown = self.asked()
        shown["function"]["output"] = self.output
        return shown


class Step(Struct):
    """One step of a run: tool calls, or the message that ends it (`message` is its id). The last five are never shown:
    see `truth.StepTruth`."""

    id: str
    created_at: int
    calls: list[ToolCall] = field(default_factory=list)
    message: str = ""
    status: StepStatus = "in_progress"
    ended_at: int | None = None
    asked_at: float = 0.0
    taken_at: float | None = None
    attempts: int = 0
    without_id: int = 0
    regenerated: int = 0

    def shown(self, run: Run) -> dict[str, Any]:
        """Return the `thread.run.step` object."""
        kind = "message_creation" if self.message else "tool_calls"
        details: Any = {"message_id": self.message} if self.message else [call.told() for call in self.calls]
        shown: dict[str, Any] = {
            "id": self.id, "object": "thread.run.step", "created_at": self.created_at, "run_id": run.id,
            "assistant_id": run.assistant_id, "thread_id": run.thread_id, "type": kind, "status": self.status,
            "step_details": {"type": kind, kind: details}, "last_error": None, "metadata": {}, "usage": None,
        }  # fmt: skip
        for status in ("cancelled", "failed", "completed", "expired"):
            shown[f"{status}_at"] = self.ended_at if self.status == status else None
        return shown


class Message(Struct):
    """One message of a thread."""

    id: str
    thread_id: str
    role: Literal["user", "assistant"]
    text: str
    created_at: int
    assistant_id: str | None = None
    run_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return the `thread.message` object."""
        return {
            "id": self.id, "object": "thread.message", "created_at": self.created_at, "thread_id": self.thread_id,
            "status": "completed", "incomplete_details": None, "completed_at": self.created_at, "incomplete_at": None,
            "role": self.role, "content": [{"type": "text", "text": {"value": self.text, "annotations": []}}],
            "assistant_id": self.assistant_id, "run_id": self.run_id, "attachments": [], "metadata": self.metadata,
        }  # fmt: skip


class Thread(Struct):
    """One conversation. At most one of its runs has not ended."""

    id: str
    created_at: int
    metadata: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """Return the `thread` object."""
        return {
            "id": self.id, "object": "thread", "created_at": self.created_at, "metadata": self.metadata,
            "tool_resources": {},
        }  # fmt: skip

    @property
    def active(self) -> Run | None:
        """The run that has not ended, if there is one."""
        return next((run for run in self.runs if run.status not in ENDED), None)


class Run(Struct):
    """One run. `plan` holds the batches of tool calls that the model will still ask for. The last two are never shown:
    see `truth.RunTruth`."""

    id: str
    thread_id: str
    assistant_id: str
    created_at: int
    expires_at: int
    plan: list[list[Wanted]]
    model: str = "simulated"
    instructions: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    status: RunStatus = "queued"
    steps: list[Step] = field(default_factory=list)
    started_at: int | None = None
    ended_at: int | None = None
    turn: str = ""
    over_at: float | None = None

    @property
    def name(self) -> str:
        """What draws about it depend on: the turn that it was made for, if that is known, so that every system that is
        given the same turns meets the same faults; else its id."""
        return self.turn or self.id

    @property
    def waiting(self) -> Step | None:
        """The step whose outputs are wanted, if any are."""
        return self.steps[-1] if self.status == "requires_action" else None

    def shown(self) -> dict[str, Any]:
        """Return the `thread.run` object. `agent_id` is what one of the two clients calls the assistant."""
        step = self.waiting
        action = None
        if step is not None:
            calls = [call.asked() for call in step.calls]
            action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0} if self.status in ENDED else None
        shown: dict[str, Any] = {
            "id": self.id, "object": "thread.run", "created_at": self.created_at, "thread_id": self.thread_id,
            "assistant_id": self.assistant_id, "agent_id": self.assistant_id, "status": self.status,
            "required_action": action, "last_error": None, "incomplete_details": None,
            "expires_at": None if self.status in ENDED else self.expires_at, "started_at": self.started_at,
            "model": self.model, "instructions": self.instructions, "tools": self.tools, "metadata": self.metadata,
            "usage": usage, "temperature": 1.0, "top_p": 1.0, "max_prompt_tokens": None, "max_completion_tokens": None,
            "truncation_strategy": {"type": "auto", "last_messages": None}, "tool_choice": "auto",
            "response_format": "auto", "parallel_tool_calls": True,
        }  # fmt: skip
        for status in ("cancelled", "failed", "completed"):
            shown[f"{status}_at"] = self.ended_at if self.status == status else None
        return shown
