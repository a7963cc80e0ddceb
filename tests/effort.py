"""How long searches look: once as long in CI, and LONGER times as long in `make nightly`."""

from __future__ import annotations

import os

LONGER = int(os.environ.get("LONGER", "1"))

TIMEOUT_S = 180 if LONGER == 1 else 3_600
"""What a search may take before it is thought to hang."""
