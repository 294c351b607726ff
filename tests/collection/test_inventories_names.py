"""Every variable that existing inventories know arrives where it is meant to."""

from __future__ import annotations

from typing import Any, Final

import pytest

from ansible_collections.ai_client.fleet.plugins.plugin_utils import desired
from tests.collection.test_desired import RELEASE, values
from tests.collection.variables import options

_IN_CONFIGURATION: Final[dict[str, tuple[Any, str]]] = {
    "ai_provider": ("other", "provider = other"),
    "ai_base_url": ("http://10.0.0.1/v1", "base_url = http://10.0.0.1/v1"),
    "ai_model_default": ("gpt-4.1", "default = gpt-4.1"),
    "ai_fallback_model": ("gemini-2.5-flash", "fallback = gemini-2.5-flash"),
    "ai_model_costs": ({"gpt-4.1": 8}, "gpt-4.1 = 8"),
    "ai_timeout": (31.0, "timeout = 31"),
    "ai_max_retries": (2, "max_retries = 2"),
    "ai_pool_size": (7, "connection_pool_size = 7"),
    "ai_conn_timeout": (4.0, "connection_timeout = 4"),
    "ai_read_timeout": (44.0, "read_timeout = 44"),
    "ai_timeout_buffer": (1.5, "request_timeout_buffer = 1.5"),
    "ai_concurrency_limit": (11, "max_concurrent_requests = 11"),
    "ai_batch_mode": (True, "[batch]\nconcurrency = 50"),
    "ai_rpm": (61, "requests_per_minute = 61"),
    "ai_caching_enabled": (False, "[caching]\nenabled = false"),
    "ai_cache_dir": ("/srv/cache", "cache_dir = /srv/cache"),
    "ai_cache_ttl": (5.0, "ttl_seconds = 5"),
    "ai_cache_size": (2.0, "max_cache_size_gb = 2"),
    "ai_log_level": ("DEBUG", "level = DEBUG"),
    "ai_log_dir": ("/srv/log", "log_dir = /srv/log"),
    "ai_verify_ssl": (False, "verify_ssl = false"),
    "ai_proxy_url": ("http://proxy:3128", "proxy_url = http://proxy:3128"),
    "ai_cert_path": ("/etc/ssl/ours.pem", "cert_path = /etc/ssl/ours.pem"),
    "ai_enable_metrics": (False, "enable_metrics = false"),
    "ai_metrics_port": (9191, "metrics_port = 9191"),
}
_ELSEWHERE: Final = {"ai_custom_ca", "ai_config_dir", "ai_venv_path", "ai_api_key", "ai_client_version"}
"""Tested below, and the version with the bundles."""
_OTHERS: Final = {
    *("holy_sheep_api_key", "holy_sheep_model", "holy_sheep_max_tokens", "HOLYSHEEP_API_KEY"),
    *("ai_client_config_dir", "service_user", "service_group"),
}


def document(certificates: str = "", **given: Any) -> tuple[dict[str, Any], dict[str, str], str]:
    """What a node should be, its secrets, and its configuration."""
    spec, secrets = desired.document(values(**given), RELEASE, list(desired.ALL_PARTS), certificates)
    return spec, secrets, next(each["content"] for each in spec["files"] if each["kind"] == "config")


@pytest.mark.parametrize(("name", "given", "line"), [(name, *each) for name, each in _IN_CONFIGURATION.items()])
def test_it_arrives_in_the_configuration(name: str, given: Any, line: str) -> None:
    assert f"\n{line}\n" not in document()[2], "it would be there without it"
    assert f"\n{line}\n" in document(**{name: given})[2]


def test_what_is_no_line_of_the_configuration_arrives_too() -> None:
    spec, secrets, text = document("PEM", ai_config_dir="/opt/conf", ai_venv_path="/opt/venv", ai_api_key="hs_mine")
    assert spec["config"] == "/opt/conf/ai-client.conf"
    assert spec["links"] == [{"path": "/opt/venv", "target": "/opt/ai-client/current"}]
    assert secrets == {spec["credentials"]["ai-client-api-key"]: "hs_mine\n"}
    assert "\ncert_path = /opt/conf/custom-ca.pem\n" in text
    assert [each["content"] for each in spec["files"] if each["kind"] == "ca"] == ["PEM"]


def test_every_name_is_known() -> None:
    assert {*_IN_CONFIGURATION, *_ELSEWHERE} <= set(options())
    assert set(desired.OTHER_NAMES) == _OTHERS
    assert set(desired.OTHER_NAMES.values()) <= set(options())
