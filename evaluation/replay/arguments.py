"""What the tools of the workload are asked for: arguments as agents write them, other ones for each intent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

READS = ("search_kb", "get_order", "get_customer", "list_tickets")
WRITES = ("create_ticket", "send_email", "refund_payment", "update_crm")

TOPICS = (
    "late delivery",
    "double charge",
    "password reset",
    "damaged item",
    "invoice address",
    "plan change",
    "outage",
)
PRIORITIES = ("low", "normal", "high")
STAGES = ("lead", "qualified", "customer", "at risk", "churned")
CURRENCIES = ("EUR", "USD", "GBP")

Draw = Callable[[str], float]
"""A number from 0 up to 1 for each kind of choice."""


def pick(options: Sequence[str], draw: float) -> str:
    """Return the option that a draw stands for; all are as likely."""
    return options[int(draw * len(options))]


def arguments_of(tool: str, reference: str, draw: Draw) -> dict[str, Any]:
    """Return the arguments of one call. `reference` is in them, as the number of an order or a customer: calls under
    different ones never have the same payload."""
    topic = pick(TOPICS, draw("topic"))
    match tool:
        case "create_ticket":
            priority = pick(PRIORITIES, draw("priority"))
            return {"subject": f"{topic.capitalize()}, order {reference}", "priority": priority}
        case "send_email":
            body = f"We have looked into order {reference}."
            return {"to": f"{reference}@customers.example", "subject": f"About your {topic}", "body": body}
        case "refund_payment":
            cents = 100 + int(draw("amount") * 49_900)
            return {"payment_id": f"pay-{reference}", "amount": cents, "currency": pick(CURRENCIES, draw("currency"))}
        case "update_crm":
            fields = {"stage": pick(STAGES, draw("stage")), "note": topic}
            return {"contact_id": f"con-{reference}", "fields": fields}
        case "search_kb":
            return {"query": f"{topic} {reference}", "limit": 3 + int(draw("limit") * 8)}
        case "get_order":
            return {"order_id": reference}
        case "get_customer":
            return {"customer_id": f"cus-{reference}"}
        case _:
            return {"status": "open", "order": reference}
