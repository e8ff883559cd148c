"""A receiver in a process of its own, so that what requests do to its memory can be measured; run by the tests beside it.

Prints its addresses as JSON, then answers each line on standard input: how far its memory rose above where it was at the line
before, in bytes, and what it wrote to standard error shows up in the parent. Ends with standard input.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from receiver_parts import RecordingConsumer, receiving, trace_request

from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits


def memory(name: str) -> int:
    """Give VmRSS (now) or VmHWM (the most since the last reset) in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    consumer = RecordingConsumer()
    decode_traces(trace_request(100).SerializeToString(), Limits())
    with receiving(consumer) as receiver:
        print(json.dumps([receiver.grpc_address, receiver.http_address]), flush=True)
        before = memory("VmRSS")
        for _ in sys.stdin:
            print(json.dumps([memory("VmHWM") - before, consumer.items]), flush=True)
            consumer.batches.clear()
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            before = memory("VmRSS")


if __name__ == "__main__":
    main()
