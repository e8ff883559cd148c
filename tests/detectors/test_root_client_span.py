"""A trace begins with a CLIENT span."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "root_client_span"

FIRES: Fires = {
    "a call that nothing caused": (["web CLIENT a addr=cart"], {"a": {"service": "web", "peer": "cart", "level": Level.IMPROVEMENT}}),
    "who answered is the peer, whatever the address was": (["web CLIENT a addr=10.0.0.7", "cart SERVER b<a"], {"a": {"peer": "cart"}}),
    "a query": (["web CLIENT a db=postgresql addr=orders-db"], {"a": {"peer": "orders-db"}}),
    "a call to somebody unnamed": (["web CLIENT a"], {"a": {"peer": ""}}),
    "a message sent by a call of an API": (["web CLIENT a name=SQS.SendMessage rpc.method=SendMessage"], {"a": {}}),
    "a call that failed with a response": (["web CLIENT a err status=500"], {"a": {}}),
    "a call that failed and was answered all the same": (["web CLIENT a err", "cart SERVER b<a"], {"a": {}}),
    "a second root beside a SERVER": (["web SERVER a", "web CLIENT b"], {"b": {}}),
    "the sending half of a shared id": (["web CLIENT a", "cart SERVER a"], {"a": {"service": "web", "peer": "cart"}}),
    "one in each trace": (["web CLIENT one:a", "web CLIENT two:a"], {"one:a": {}, "two:a": {}}),
    "sent twice, it is one": (["web CLIENT a", "web CLIENT a"], {"a": {}}),
}

STAYS_SILENT: Silent = {
    "a SERVER root that calls": ["web SERVER a", "web CLIENT b<a"],
    "a job wrapped in an INTERNAL span": ["cron INTERNAL a", "cron CLIENT b<a"],
    "a browser": ["shop CLIENT a sdk=webjs addr=api", "api SERVER b<a"],
    "a poll of a message broker": ["billing CLIENT a msg=kafka op=receive"],
    "a poll of SQS that says only which method it called": ["billing CLIENT a rpc.system=aws-api rpc.service=SQS rpc.method=ReceiveMessage"],
    "a poll of SQS that says it by its name": ["billing CLIENT a name=SQS.ReceiveMessage"],
    "a batch settled": ["billing CLIENT a msg=servicebus op=settle"],
    "a heartbeat to a broker": ["billing CLIENT a msg=rabbitmq"],
    "a refused call while everything starts": ["web CLIENT a addr=config err error=ECONNREFUSED"],
    "a name that could not be resolved": ["web CLIENT a addr=config err"],
    "an orphan CLIENT: its parent was lost, it is no root": ["web CLIENT a<x"],
    "a CLIENT on a loop": ["web CLIENT a<a"],
    "a PRODUCER root": ["shop PRODUCER a"],
    "a CONSUMER root": ["billing CONSUMER a ->gone:p"],
    "a root of no kind that names its peer": ["web UNSPECIFIED a peer=cart"],
    "a CLIENT inside a CLIENT that has a parent": ["web SERVER a", "web CLIENT b<a", "web CLIENT c<b"],
    "the receiving half of a shared id": ["web SERVER z", "web CLIENT a<z", "cart SERVER a"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
