"""Writes docs/detectors.md, docs/metrics.md and docs/configuration.md from the code, so that they cannot say something else.

PYTHONPATH=tests python -m documentation.generate     (make docs)
"""

from __future__ import annotations

import sys
from pathlib import Path

from documentation import configuration, detectors, metrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOTE = "<!-- Written from the code by `make docs`; change it there. -->"


def documents() -> dict[Path, str]:
    """Give each generated file with its content."""
    parts = {"detectors.md": detectors.document(), "metrics.md": metrics.document(), "configuration.md": configuration.document()}
    return {DOCS / name: f"{NOTE}\n\n{text}" for name, text in parts.items()}


def main() -> None:
    """Write them all."""
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines\n")


if __name__ == "__main__":
    main()
