"""What is known of providers that honour a key: which header takes it, and how long it is remembered.

Each time is the shortest that the provider's documentation promises for any of its calls. A policy that knows better
for its own call says so in `upstream.honoursKeyFor`.
"""

from __future__ import annotations

from typing import Any, Final

from policies.model import DAY_MS, HOUR_MS, Selector

HEADER: Final = "upstream.idempotencyHeader"
BODY: Final = "upstream.idempotencyBody"
HONOURS: Final = "upstream.honoursKeyFor"

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "stripe": {HEADER: Selector("header", "Idempotency-Key"), HONOURS: DAY_MS},
    "paypal": {HEADER: Selector("header", "PayPal-Request-Id"), HONOURS: 6 * HOUR_MS},
    "adyen": {HEADER: Selector("header", "Idempotency-Key"), HONOURS: 7 * DAY_MS},
}
"""By name, the fields that a preset fills."""
