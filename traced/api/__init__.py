"""JSON for programs: findings, graph, traces, status and queries under /api/v1, the probes, and /metrics."""
