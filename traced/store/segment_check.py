"""Opens segments read only and says what is in each: run as a process of its own, because a replay may abort.

python -m traced.store.segment_check PATH...  →  one line a segment on standard output: {"last_batch": n} or {"error": "…"}

Imports little: starts wait for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb


def look(path: str) -> dict[str, Any]:
    """Open one segment, and read its last batch; it is closed again when this returns."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "wal_autocheckpoint": "1TB",
        "threads": 1,
        # beside hot/: DATA_DIR/spill; a segment is frozen long before its log is as large as that
        "temp_directory": str(Path(path).parents[1] / "spill" / f"{Path(path).stem}.check"),
        "max_temp_directory_size": "1GiB",
        "memory_limit": "192MB",
    }
    try:
        connection = duckdb.connect(path, read_only=True, config=config)
    except duckdb.Error as error:
        return {"error": str(error)}
    try:
        row = connection.execute("SELECT coalesce(max(sequence), 0) FROM batch").fetchone()
    except duckdb.CatalogException:
        return {"last_batch": 0}  # killed before its first commit
    except duckdb.Error as error:
        return {"error": str(error)}
    finally:
        connection.close()
    return {"last_batch": row[0] if row else 0}


def main() -> None:
    """Look at each, in order; a line is out before the next segment is opened."""
    for path in sys.argv[1:]:
        sys.stdout.write(json.dumps(look(path)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
