"""How long tests go on that draw their input at random, or try every fault: `make thorough` has them go on for longer."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("TRACED_THOROUGH"))


def rounds(usual: int, thorough: int) -> int:
    """Give how many rounds there are now."""
    return thorough if THOROUGH else usual
