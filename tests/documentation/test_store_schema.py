"""docs/store-schema.md names every column of the sealed files, in their order."""

import re
from pathlib import Path

import pytest

from traced.model.messages import FLOWS, MESSAGES
from traced.model.schema import LOGS, REPEATS, SPANS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "store-schema.md"


@pytest.mark.parametrize(("heading", "schema"), [("spans", SPANS), ("logs", LOGS), ("repeats", REPEATS), ("messages", MESSAGES), ("flows", FLOWS)])
def test_every_column_is_described(heading, schema):
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", section, re.MULTILINE) == schema.names
