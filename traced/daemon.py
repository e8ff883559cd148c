"""The only place where rooms meet: builds them, starts consumers before producers, stops in reverse."""

from __future__ import annotations

import signal
import threading
from typing import Any, Final

import pyarrow as pa
import structlog

from traced import __version__
from traced.analysis.capture import Missed
from traced.analysis.edge_history import EdgeHistory
from traced.analysis.loop import Analysis
from traced.analysis.wording import wording
from traced.api.app import build_app
from traced.api.http_protocol import ApiHttpProtocol
from traced.api.routes import api_routes
from traced.api.sources import Sources
from traced.config import Settings
from traced.detectors import detectors, explain
from traced.errors import ConfigurationError, TracedError
from traced.findings.ledger import Ledger
from traced.listening import AsgiServer, Endpoint
from traced.metrics.exposition import expose
from traced.model.batch import Signal
from traced.model.schema_rules import SchemaRules
from traced.model.views import DetectorHealth, Status, StoreHealth
from traced.pages.routes import page_routes
from traced.receiver.receiver import Receiver
from traced.store.store import Store
from traced.store.user_queries import UserQueries
from traced.store.workbench import Workbench
from traced.telemetry import Telemetry

log = structlog.get_logger(__name__)

STOP_SECONDS: Final = 5.0


class Daemon:
    """`traced serve`: from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        """Build every room; nothing is bound or opened yet.

        Raises:
            ConfigurationError: settings that contradict each other.
        """
        self.settings = settings
        http = Endpoint.parse(settings.http.listen, "http.listen", "--http")
        if not http.loopback and not settings.http.allow_beyond_loopback:
            raise ConfigurationError(
                f"pages and JSON would be reachable beyond this machine at {settings.http.listen}, and there is no authentication",
                next_safe_actions=("Listen on 127.0.0.1, or allow it by name: TRACED_HTTP__ALLOW_BEYOND_LOOPBACK=true.",),
            )
        self.telemetry = Telemetry()
        migrations = settings.configured_migrations()
        rules = SchemaRules.of(migrations)
        self.store = Store(settings.store, self.telemetry, rules.attribute_keys())
        self.ledger = Ledger(settings.findings, self.telemetry, wording())
        self.edges = EdgeHistory(settings.graph.max_edges, settings.graph.history_minutes)
        workbench = Workbench(spill=self.store.spill)
        self.analysis = Analysis(self.store, self.ledger, self.edges, settings.analysis, settings.graph, self.telemetry, workbench=workbench)
        self.analysis.watch(migrations)
        self.analysis.listening.watch(lambda: Missed(*self.telemetry.not_taken(Signal.TRACES)))
        self.receiver = Receiver(settings.receiver, self.store, self.telemetry, measurements=self.analysis.inbox)
        metrics = expose(
            self.telemetry.registry,
            self.ledger,
            self.edges,
            self.analysis,
            self.analysis.migrations,
            self.analysis.listening,
            max_series=settings.http.max_series,
            version=__version__,
        )
        self._queries = UserQueries(self.store, settings.query, lambda: (f.as_dict() for f in self.ledger.findings()))
        sources = Sources(self.ledger, self.edges, self.analysis.messages, self.store, self, self._queries, self.analysis.migrations, metrics)
        pages = page_routes(self.ledger, self.edges, self.analysis.messages, self.store, self, self.analysis.migrations, explain)
        app = build_app(api_routes(sources), pages, bound_host=http.host, allowed_hosts=settings.http.allowed_hosts)
        self._http = AsgiServer(http, app, "http", ApiHttpProtocol)
        self._stopped = threading.Event()
        self._running = False

    def start(self) -> None:
        """Open the store, start the analysis, bind every port; undo all of it when one step fails.

        Raises:
            TracedError: the store cannot be opened, or a port is taken.
        """
        # Arrow's own pool keeps what was freed for long: 340 MiB at 5,000 spans/s, where the system's allocator takes 285
        pa.set_memory_pool(pa.system_memory_pool())
        self.store.open()
        started = [self.store.close]
        try:
            self.analysis.start()
            started.append(self.analysis.close)
            self._http.start()
            started.append(lambda: self._http.stop(0))
            self.receiver.start()
        except TracedError:
            for undo in reversed(started):
                undo()
            raise
        self._running = True
        log.info("ready", **self.ready_line())

    def stop(self) -> None:
        """Answer what is in flight, keep every acknowledged batch, and end; may be called again."""
        if not self._running:
            return
        self._running = False
        self._queries.close()
        self.receiver.stop(STOP_SECONDS)
        self.analysis.close()
        self._http.stop(1)
        self.store.close()
        log.info("stopped")

    def ready_line(self) -> dict[str, Any]:
        """Give what `traced serve` prints when everything is bound."""
        return {
            "ready": True,
            "otlp_grpc": self.receiver.grpc_address,
            "otlp_http": self.receiver.http_address,
            "http": self._http.address,
            "data_dir": str(self.settings.store.data_dir),
            "version": __version__,
        }

    def catch_signals(self) -> None:
        """Let SIGTERM and SIGINT end `run_until_signal`; called before `start`, so that one that comes during it is not lost."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopped.set())

    def run_until_signal(self) -> int:
        """Wait for SIGTERM or SIGINT; give the exit code."""
        self._stopped.wait()
        return 0

    # ------------------------------------------------------------------ what the ways out ask

    def status(self) -> Status:
        """Give how the daemon is now (StatusView)."""
        counts = _Counts(self.telemetry)
        reasons = self._reasons_not_ready()
        last = counts.gauge("traced_receiver_last_arrival_timestamp_seconds")
        return Status(
            version=__version__,
            # a server that is not started yet, or is being stopped, needs no restart
            alive=self.analysis.alive and self.store.alive and not (self._running and self.receiver.ended),
            ready=not reasons,
            not_ready_reasons=reasons,
            otlp_grpc=self.receiver.grpc_address,
            otlp_http=self.receiver.http_address,
            received_spans=counts.total("traced_receiver_accepted", signal="traces"),
            received_logs=counts.total("traced_receiver_accepted", signal="logs"),
            refused_requests=counts.total("traced_receiver_refused"),
            rejected_items=counts.total("traced_receiver_rejected_items"),
            repeated_spans=counts.total("traced_store_repeated_spans"),
            repeated_logs=counts.total("traced_store_repeated_logs"),
            dropped_findings=counts.total("traced_findings_dropped"),
            dropped_edges=counts.total("traced_graph_dropped_edges"),
            last_arrival_unix_seconds=last or None,
            traces_analyzed=self.analysis.traces_analyzed,
            spans_analyzed=sum(self.analysis.tallies().spans_analyzed.values()),
            traces_waiting=self.analysis.waiting_traces,
            analyzed_until_unix_seconds=self.analysis.analyzed_until,
            analysis_lag_seconds=counts.gauge("traced_analysis_lag_seconds"),
            settle_seconds=self.settings.analysis.settle_seconds,
            detectors=tuple(
                DetectorHealth(
                    d.id,
                    counts.total("traced_detector_errors", detector=d.id),
                    counts.sum("traced_detector_seconds", detector=d.id),
                )
                for d in detectors()
            ),
            store=StoreHealth(
                hot_spans=int(counts.gauge("traced_store_hot_spans")),
                sealed_files=int(counts.gauge("traced_store_sealed_files")),
                sealed_bytes=int(counts.gauge("traced_store_sealed_bytes")),
            ),
            received_data_points=counts.total("traced_receiver_accepted", signal="metrics"),
            ignored_metrics=counts.total("traced_receiver_ignored_metrics"),
            loss_ledger=self.analysis.accounts,
            view=self.analysis.view,
        )

    def _reasons_not_ready(self) -> tuple[str, ...]:
        reasons = []
        if not self._running:
            reasons.append("starting or stopping")
        refusal = self.store.refusal
        if refusal is not None:
            reasons.append(f"{refusal.reason}: {refusal.message}")
        if not self.analysis.alive:
            reasons.append("the analysis does not run")
        if self._running:
            reasons.extend(f"{server} is not served any more" for server in self.receiver.ended)
        return tuple(reasons)


class _Counts:
    """One reading of the telemetry, by family and labels."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._samples = {family.name: family.samples for family in telemetry.own_families()}

    def sum(self, name: str, **labels: str) -> float:
        """Add up a family's samples that carry the labels."""
        samples = self._samples.get(name, ())
        return sum(s.value for s in samples if all(s.labels.get(k) == v for k, v in labels.items()))

    def total(self, name: str, **labels: str) -> int:
        """As `sum`, in whole numbers."""
        return int(self.sum(name, **labels))

    def gauge(self, name: str) -> float:
        """Give a gauge without labels."""
        return self.sum(name)
