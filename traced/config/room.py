"""What all settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Room(BaseModel):
    """Settings of one room; an unknown key is an error, so that a typo cannot pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
