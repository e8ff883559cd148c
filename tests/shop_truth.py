"""What is true of the demo's shop beside its planted faults: who is healthy, who calls whom, and which findings are accounted for."""

from traced.demo.faults import planted_faults


def healthy_services() -> tuple[str, ...]:
    """Give the services about which nothing may be found (recommendation is slow now and then, and that is no finding)."""
    return ("billing", "customer", "recommendation")


def expected_edges() -> tuple[tuple[str, str, str], ...]:
    """Give the edges (client, server, connection_type) that the service graph must show, in no particular order."""
    calls = [
        ("web", ("cart", "catalog", "customer", "order", "recommendation")),
        ("order", ("inventory", "payment")),
        ("payment", ("fraud",)),
        ("shipping", ("inventory",)),
    ]
    return (
        ("user", "web", "virtual_node"),
        *((client, server, "") for client, servers in calls for server in servers),
        ("web", "pricing", "virtual_node"),
        *((client, "postgres", "database") for client in ("billing", "cart", "catalog", "customer", "order", "shipping")),
        ("order", "billing", "messaging_system"),
        ("order", "shipping", "messaging_system"),
    )


def explained(detector: str, service: str, peer: str) -> bool:
    """Tell whether a finding is one that a planted fault accounts for; any other is an error of `traced` or of the shop."""
    return any(claim.covers(detector, service, peer) for fault in planted_faults() for claim in (*fault.expected, *fault.may_also))
