"""Names and attributes of spans by OpenTelemetry's semantic conventions, current ones and those of 2022."""

from __future__ import annotations

from dataclasses import dataclass

from .blueprint import Endpoint, Query, Service, Topic
from .traces import Value

Attributes = dict[str, Value]


@dataclass(frozen=True)
class Peer:
    """The other side of a connection, as one side sees it.

    Attributes:
        host: what it is called by (`server.address` of a CLIENT, `client.address` of a SERVER).
        ip: the address of the socket.
        name: its service, for old clients that set `peer.service`.
    """

    host: str
    ip: str
    port: int
    agent: str = ""
    name: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a call: a status, or none and the kind of failure; `resend` counts earlier attempts."""

    status: int | None
    error_type: str = ""
    resend: int = 0

    @property
    def failed(self) -> bool:
        """Tell whether the caller's span has error status."""
        return self.status is None or self.status >= 400


GRPC_CODES = {200: 0, 404: 5, 500: 13, 503: 14}


def client_name(endpoint: Endpoint, service: Service) -> str:
    """Name a CLIENT span; HTTP clients know no route."""
    if not endpoint.http:
        return endpoint.name
    method = endpoint.name.split(" ", maxsplit=1)[0]
    return f"HTTP {method}" if service.old or service.language == "go" else method


def client_attributes(endpoint: Endpoint, service: Service, to: Peer, outcome: Outcome) -> Attributes:
    """Give what a caller says of a call."""
    if not endpoint.http:
        return _grpc(endpoint, service, outcome, {"server.address": to.host, "server.port": to.port}, to)
    method, path = _split(endpoint)
    if service.old:
        made: Attributes = {"http.method": method, "http.url": f"http://{to.host}:{to.port}{path}", "net.peer.name": to.host, "net.peer.port": to.port}
        made |= {"peer.service": to.name} if to.name else {}
        return made | ({} if outcome.status is None else {"http.status_code": outcome.status})
    made = {"http.request.method": method, "url.full": f"http://{to.host}:{to.port}{path}", "server.address": to.host, "server.port": to.port}
    if outcome.status is not None:
        made |= {"http.response.status_code": outcome.status}
        # Java and Go know the socket; Python and Node do not say
        made |= {"network.peer.address": to.ip, "network.peer.port": to.port} if service.language in ("java", "go") else {}
    if outcome.resend:
        made |= {"http.request.resend_count": outcome.resend}
    return made | _error(outcome, 400)


def server_attributes(endpoint: Endpoint, service: Service, caller: Peer, outcome: Outcome) -> Attributes:
    """Give what a service says of a request."""
    own: Attributes = {"server.address": service.name, "server.port": service.port, "client.address": caller.host}
    if not endpoint.http:
        return _grpc(endpoint, service, outcome, own, caller)
    method, path = _split(endpoint)
    route = endpoint.name.split(" ", maxsplit=1)[1]
    status = outcome.status or 500
    if service.old:
        return {"http.method": method, "http.route": route, "http.target": path, "http.status_code": status, "net.peer.ip": caller.ip}
    made: Attributes = {"http.request.method": method, "url.path": path, "url.scheme": "http", "http.route": route, **own}
    made |= {"network.peer.address": caller.ip, "http.response.status_code": status}
    made |= {"user_agent.original": caller.agent} if caller.agent else {}
    return made | _error(outcome, 500)


def query_attributes(query: Query, *, old: bool) -> Attributes:
    """Give what a database client says."""
    operation = query.statement.split(" ", maxsplit=1)[0]
    if old:
        return {"db.system": query.system, "db.statement": query.statement, "net.peer.name": query.address}
    made: Attributes = {"db.system.name": query.system, "db.operation.name": operation, "db.query.text": query.statement}
    return made | {"db.namespace": "main", "server.address": query.address, "server.port": 6379 if query.system == "redis" else 5432}


def outside_attributes(host: str, method: str) -> Attributes:
    """Give what a caller says of somebody else's API."""
    return {"http.request.method": method, "url.full": f"https://{host}/v1", "server.address": host, "server.port": 443, "http.response.status_code": 200}


def message_attributes(topic: Topic, operation: str, number: int, group: str = "") -> Attributes:
    """Give what both sides say of a message; `number` tells the messages of a topic apart and grows with time."""
    made: Attributes = {"messaging.system": topic.system, "messaging.destination.name": topic.name, "messaging.operation.type": operation}
    made |= {"messaging.operation.name": operation}
    if topic.system == "kafka":
        made |= {"messaging.destination.partition.id": str(number % 3), "messaging.kafka.offset": number}
    else:
        made |= {"messaging.message.id": f"{topic.name}-{number}"}
    return made | ({"messaging.consumer.group.name": group} if group else {})


def batch_attributes(topic: Topic, operation: str, count: int, group: str) -> Attributes:
    """Give what a consumer says of many messages taken at once."""
    made: Attributes = {"messaging.system": topic.system, "messaging.destination.name": topic.name, "messaging.operation.type": operation}
    made |= {"messaging.operation.name": "poll" if operation == "receive" else operation, "messaging.batch.message_count": count}
    return made | ({"messaging.consumer.group.name": group} if group else {})


def _split(endpoint: Endpoint) -> tuple[str, str]:
    method, route = endpoint.name.split(" ", maxsplit=1)
    return method, route.replace("{id}", "42")


def _grpc(endpoint: Endpoint, service: Service, outcome: Outcome, sides: Attributes, peer: Peer) -> Attributes:
    rpc_service, method = endpoint.name.rsplit("/", maxsplit=1)
    made: Attributes = {"rpc.system": "grpc", "rpc.service": rpc_service, "rpc.method": method}
    made |= {"net.peer.name": peer.host} if service.old else sides | {"network.peer.address": peer.ip}
    code = {"timeout": 4, "cancelled": 1}.get(outcome.error_type, 14) if outcome.status is None else GRPC_CODES.get(outcome.status, 2)
    made |= {"rpc.grpc.status_code": code}
    return made | {"error.type": outcome.error_type or str(code)} if outcome.failed and not service.old else made


def _error(outcome: Outcome, from_status: int) -> Attributes:
    if outcome.status is None:
        return {"error.type": outcome.error_type}
    return {"error.type": str(outcome.status)} if outcome.status >= from_status else {}
