"""A real Prometheus and its promtool against a live daemon: names as promised, text as Prometheus wants it, queries as Grafana sends them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemon_process import DaemonProcess
from prometheus_client.parser import text_string_to_metric_families
from spans import Spans, many, spans

pytestmark = [pytest.mark.e2e]

GRAPH = "traces_service_graph"
PROMISED = {
    "traced_findings_open": {"finding", "level", "service", "peer", "cause"},
    "traced_finding_occurrences_total": {"finding", "service", "peer", "cause"},
    "traced_missing_spans_total": {"service", "cause"},
    "traced_spans_analyzed_total": {"service"},
    "traced_traces_analyzed_total": {"complete"},
    "traced_receiver_accepted_total": {"signal", "transport"},
    "traced_receiver_refused_total": {"signal", "transport", "reason"},
    "traced_receiver_rejected_items_total": {"signal", "reason"},
    "traced_analysis_lag_seconds": set(),
    "traced_detector_errors_total": {"detector"},
    f"{GRAPH}_request_total": {"client", "server", "connection_type"},
    f"{GRAPH}_request_failed_total": {"client", "server", "connection_type"},
    f"{GRAPH}_request_server_seconds": {"client", "server", "connection_type"},
    f"{GRAPH}_request_client_seconds": {"client", "server", "connection_type"},
    f"{GRAPH}_request_messaging_system_seconds": {"client", "server", "connection_type"},
    f"{GRAPH}_unpaired_spans_total": {"client", "server", "connection_type"},
    f"{GRAPH}_dropped_spans_total": {"client", "server", "connection_type"},
}
"""The names (and labels) that dashboards and alerts rely on."""

GRAFANA_METRICS = (
    f"{GRAPH}_request_total",
    f"{GRAPH}_request_server_seconds_sum",
    f"{GRAPH}_request_failed_total",
)
"""What Grafana asks of Prometheus to draw the service graph: calls, their mean duration, their failures."""

EDGES = {("user", "web", "virtual_node"), ("web", "cart", ""), ("cart", "redis", "database"), ("order", "billing", "messaging_system")}


def traffic(number: int) -> Spans:
    """Give traces of one shape: calls of which some fail, a database, a message, an orphan, a repeated span."""
    one = many(
        3,
        "web SERVER a",
        "web CLIENT b<a peer=cart",
        "cart SERVER c<b err",
        "cart CLIENT d<c db=redis addr=redis",
        "order PRODUCER e<a msg=kafka dest=orders ~1ms",
        "billing CONSUMER f<e msg=kafka dest=orders +10ms",
        "tax SERVER g<absent remote",
        "tax SERVER h<a",
        "tax SERVER h<a",
    )
    return spans(*(line.replace(" m", f" n{number}-", 1) for line in one))


def feed(daemon: DaemonProcess, number: int) -> None:
    """Send the traffic once more, under other ids, with one span that is invalid and one request that is."""
    for _, body in traffic(number).requests():
        daemon.export(body, timeout=20)
    daemon.otlp.post("/v1/traces", content=b"\x0a\xff", headers={"content-type": "application/x-protobuf"})
    no_ids = b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "no ids"}]}]}]}'
    rejected = daemon.otlp.post("/v1/traces", content=no_ids, headers={"content-type": "application/json"})
    assert rejected.json()["partialSuccess"]["rejectedSpans"] == "1"
    daemon.wait_until_analyzed(len(traffic(number).stored()[0]) * (number + 1))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("scraped") / "data", settle_seconds=0.5, environment={"TRACED_ANALYSIS__INTERVAL_SECONDS": "0.3"}) as one:
        feed(one, 0)
        yield one


def test_every_promised_name_is_there_with_its_labels(daemon: DaemonProcess):
    families = list(text_string_to_metric_families(daemon.client.get("/metrics").text))
    shown = {family.name + ("_total" if family.type == "counter" else ""): family for family in families}
    assert set(PROMISED) <= set(shown)
    for name, labels in PROMISED.items():
        found = {frozenset(sample.labels) - {"le"} for sample in shown[name].samples}
        assert found <= {frozenset(labels)}, name
    without = {name for name in PROMISED if not shown[name].samples}
    # no detector failed; everything else has been seen to happen
    assert without == {"traced_detector_errors_total"}
    assert {name for name in shown if name.startswith("traced_store_")}
    assert all(family.documentation for family in families)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
@pytest.mark.parametrize("accept", ["text/plain", "*/*"])
def test_promtool_finds_nothing_to_complain_about_in_a_live_daemon(daemon: DaemonProcess, accept: str):
    scraped = daemon.client.get("/metrics", headers={"accept": accept}).content
    assert len(scraped) > 10_000
    checked = subprocess.run(["promtool", "check", "metrics"], input=scraped, capture_output=True, check=False, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


class Prometheus:
    """A Prometheus that scrapes one target each second."""

    def __init__(self, directory: Path, target: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = directory / "prometheus.yml"
        scrape = f'{{job_name: traced, static_configs: [{{targets: ["{target}"]}}]}}'
        config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{scrape}]\n")
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}", f"--web.listen-address={self.address}"]
        self._log = (directory / "prometheus.log").open("wb")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self.client = httpx.Client(base_url=f"http://{self.address}/api/v1", timeout=20, trust_env=False)

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(20)
        self._log.close()

    def query(self, text: str) -> list[tuple[dict[str, str], float]]:
        """Run an instant query; nothing while it starts."""
        try:
            answer = self.client.get("/query", params={"query": text}).json()
        except (httpx.HTTPError, ValueError):
            return []
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def wait_for(self, text: str, seconds: float = 40) -> list[tuple[dict[str, str], float]]:
        """Run a query until it gives something."""
        deadline = time.monotonic() + seconds
        while not (found := self.query(text)):
            assert time.monotonic() < deadline, f"nothing for {text}; targets {self.targets()}"
            time.sleep(0.2)
        return found

    def targets(self) -> list[dict[str, Any]]:
        active: list[dict[str, Any]] = self.client.get("/targets").json()["data"]["activeTargets"]
        return active


@pytest.fixture(scope="module")
def prometheus(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus (Debian's package prometheus) is not installed")
    one = Prometheus(tmp_path_factory.mktemp("prometheus"), daemon.ready["http"])
    try:
        one.wait_for(f"{GRAPH}_request_total")
        # a rate needs a counter that was seen to grow
        feed(daemon, 1)
        one.wait_for(f'changes({GRAPH}_request_total{{client="web",server="cart"}}[1m]) > 0')
        yield one
    finally:
        one.close()


def test_prometheus_scrapes_the_daemon(prometheus: Prometheus):
    assert [value for _, value in prometheus.query("up")] == [1.0]
    (target,) = prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    calls = {(m["client"], m["server"], m.get("connection_type", "")): value for m, value in prometheus.query(f"{GRAPH}_request_total")}
    assert set(calls) >= EDGES
    assert calls["web", "cart", ""] == 6
    assert {m["finding"] for m, value in prometheus.query("traced_findings_open") if value} >= {"orphan_span", "duplicate_span"}
    assert prometheus.query("sum(traced_finding_occurrences_total{finding='duplicate_span'})") == [({}, 6.0)]


@pytest.mark.parametrize("metric", GRAFANA_METRICS)
def test_grafana_s_service_graph_is_answered(prometheus: Prometheus, metric: str):
    rates = {(m["client"], m["server"]): value for m, value in prometheus.query(f"sum by (client, server) (rate({metric}[1m]))")}
    assert {(client, server) for client, server, _ in EDGES} <= set(rates)
    assert rates["web", "cart"] > 0
    grouped = {(m["client"], m["server"], m.get("connection_type", "")) for m, _ in prometheus.query(f"group by (client, connection_type, server) ({metric})")}
    assert grouped >= EDGES


def test_the_mean_duration_divides_by_every_call(prometheus: Prometheus):
    for side in ("client", "server"):
        for client, server, kind in EDGES:
            of = f'{{client="{client}",server="{server}",connection_type="{kind}"}}'
            counted = prometheus.query(f"{GRAPH}_request_{side}_seconds_count{of} / {GRAPH}_request_total{of}")
            assert [value for _, value in counted] == [1.0], (side, client, server)
