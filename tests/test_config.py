"""Settings from the environment: what was meant for a setting is never ignored, what was not is."""

from __future__ import annotations

from pathlib import Path

import pytest

from traced.config import StoreSettings, load
from traced.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TRACED_ANALYSIS_SETTLE_SECONDS", "TRACED_ANALYSIS__SETTLE_SECONDS"),
        ("TRACED_ANALYSIS_SETTLE_SECOND", "TRACED_ANALYSIS__SETTLE_SECONDS"),
        ("TRACED_SETTLE_SECONDS", "TRACED_ANALYSIS__SETTLE_SECONDS"),
        ("TRACED_SETLE_SECONDS", "TRACED_ANALYSIS__SETTLE_SECONDS"),
        ("TRACED_RECEIVER_OTLP_GRPC", "TRACED_RECEIVER__OTLP_GRPC"),
        ("TRACED_OTLP_HTTP", "TRACED_RECEIVER__OTLP_HTTP"),
        ("TRACED_DATA_DIR", "TRACED_STORE__DATA_DIR"),
        ("TRACED_STORE_COLOUR", "TRACED_STORE__…"),
        ("traced_http_listen", "TRACED_HTTP__LISTEN"),
        ("traced_stroe__data_dir", "TRACED_STORE__…"),
    ],
)
def test_a_variable_that_looks_like_a_setting_and_is_none_is_refused_with_the_name_that_was_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "7")
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert f"environment variable {name}" in refused.value.message
    assert f"did you mean {meant}?" in refused.value.message
    assert name in refused.value.next_safe_actions[0]


KUBERNETES = {
    "{}_SERVICE_HOST": "10.0.0.7",
    "{}_SERVICE_PORT": "4317",
    "{}_SERVICE_PORT_OTLP_GRPC": "4317",
    "{}_PORT": "tcp://10.0.0.7:4317",
    "{}_PORT_4317_TCP": "tcp://10.0.0.7:4317",
    "{}_PORT_4317_TCP_PROTO": "tcp",
    "{}_PORT_4317_TCP_PORT": "4317",
    "{}_PORT_4317_TCP_ADDR": "10.0.0.7",
    "{}_PORT_53_UDP": "udp://10.0.0.7:53",
}


@pytest.mark.parametrize("service", ["TRACED", "TRACED_HTTP", "TRACED_STORE", "TRACED_RECEIVER_OTLP", "TRACED_CANARY"])
def test_what_kubernetes_sets_for_services_is_ignored(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load()
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name.format(service), value)
    assert load() == before


@pytest.mark.parametrize("name", ["TRACED_VERSION", "TRACED_IMAGE", "TRACED_DIFFERENTIAL_ROUNDS", "TRACED_", "TRACED", "NOT_TRACED_DATA_DIR"])
def test_variables_that_look_like_no_setting_are_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load()
    monkeypatch.setenv(name, "1")
    assert load() == before


def test_a_whole_room_may_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACED_ANALYSIS", '{"settle_seconds": 7}')
    assert load().analysis.settle_seconds == 7


def test_nobody_can_have_batches_acknowledged_that_are_not_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "traced.yaml"
    file.write_text("store: {durable: false}")
    with pytest.raises(ConfigurationError, match=r"'store\.durable' cannot be changed: what is acknowledged is on disk"):
        load(file)
    monkeypatch.setenv("TRACED_STORE__DURABLE", "false")
    with pytest.raises(ConfigurationError, match=r"store\.durable"):
        load()
    monkeypatch.setenv("TRACED_STORE__DURABLE", "true")
    assert load().store.durable
    assert not StoreSettings(durable=False).durable, "the store of `traced analyze` lives as long as the command"
