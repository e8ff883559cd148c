"""A process that does as the analysis does: rows of a pass into the message log, then the manifest with the state; for tests that kill it.

python logging_process.py DATA_DIR PASSES  →  a line `kept N` for each state that was kept, `done` at the end.
Pass N logs the message N, and a flow in minute N.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from logged import flow, flows, message, messages, restored

from traced.store.message_keeping import LogKeeper
from traced.store.message_log import MessageLog
from traced.store.state import StateFiles


def begin(data_dir: Path) -> tuple[StateFiles, MessageLog, int]:
    """Take up where an earlier process stopped; give the last pass whose state was kept."""
    (data_dir / "state").mkdir(parents=True, exist_ok=True)
    files = StateFiles(data_dir / "state", durable=True)
    state = files.load("analysis") or {"pass": 0, "messages": None}
    log = restored(data_dir, state["messages"], None if state["messages"] else -1, durable=True)
    return files, log, int(state["pass"])


def main() -> None:
    """Run passes, merge beside them, and say what was kept."""
    data_dir, passes = Path(sys.argv[1]), int(sys.argv[2])
    files, log, done = begin(data_dir)
    closing = threading.Event()

    def tidy() -> None:
        keeper = LogKeeper(log, lambda: 0)
        while not closing.is_set():
            try:
                keeper.tidy(closing.is_set)
            except OSError:
                continue

    thread = threading.Thread(target=tidy, daemon=True)
    thread.start()
    for number in range(done + 1, passes + 1):
        log.add(messages(message(number, number)), flows(flow(number)))
        while True:
            try:
                files.save("analysis", {"pass": number, "messages": log.flush()})
                break
            except OSError as error:
                sys.stdout.write(f"failed {error.errno}\n")
        log.saved()
        sys.stdout.write(f"kept {number}\n")
        sys.stdout.flush()
    closing.set()
    thread.join()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
