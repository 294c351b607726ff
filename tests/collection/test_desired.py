"""What the collection renders is what the client understands, and what inventories may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_client.config.load import load
from ansible_collections.ai_client.fleet.plugins.plugin_utils import configuration, desired
from ansible_collections.ai_client.fleet.plugins.plugin_utils.bundle import BundleError, Release, choose
from tests.collection.variables import options

RELEASE = Release("1.0-abc", "3.11", "x86_64", "/bundle/a.tar.gz", "0" * 64)


def values(**given: Any) -> dict[str, Any]:
    return {name: each["default"] for name, each in options().items()} | {"ai_api_key": "hs_secret"} | given


def rendered(tmp_path: Path, **given: Any) -> Any:
    spec, _secrets = desired.document(values(**given), RELEASE, list(desired.ALL_PARTS), "")
    text = next(each["content"] for each in spec["files"] if each["kind"] == "config")
    path = tmp_path / "ai-client.conf"
    path.write_text(text)
    return load(path, {}).config


def test_the_defaults_are_a_configuration_that_the_client_takes(tmp_path: Path) -> None:
    config = rendered(tmp_path)
    assert config.api.base_url == "https://api.holysheep.ai/v1"
    assert config.daemon.listen == ("127.0.0.1:8089", "unix:/run/ai-client/ai-client.sock")


def test_every_variable_of_the_client_arrives(tmp_path: Path) -> None:
    config = rendered(
        tmp_path,
        ai_provider="other",
        ai_base_url="http://10.0.0.1:4010/v1",
        ai_model_default="gpt-4.1",
        ai_fallback_model=["deepseek-v3.2", "gemini-2.5-flash"],
        ai_model_costs={"gpt-4.1": 8, "deepseek-v3.2": "0.14/0.28"},
        ai_timeout=31.5,
        ai_max_retries=2,
        ai_pool_size=7,
        ai_conn_timeout=4.0,
        ai_read_timeout=44.0,
        ai_timeout_buffer=1.0,
        ai_concurrency_limit=10,
        ai_batch_mode=True,
        ai_rpm=60,
        ai_tpm=7000,
        ai_caching_enabled=False,
        ai_cache_dir="/srv/cache",
        ai_cache_ttl=5.0,
        ai_cache_size=1.0,
        ai_log_level="DEBUG",
        ai_log_dir="/srv/log",
        ai_proxy_url="http://proxy:3128",
        ai_enable_metrics=False,
        ai_metrics_port=9191,
        ai_config={"routing": {"aliases": "fast: gpt-4.1"}, "api": {"timeout": 9}},
    )
    assert (config.api.provider, config.api.base_url, config.api.timeout) == ("other", "http://10.0.0.1:4010/v1", 9)
    assert (config.api.max_retries, config.api.connection_pool_size) == (2, 7)
    assert (config.models.default, config.models.fallback) == ("gpt-4.1", ("deepseek-v3.2", "gemini-2.5-flash"))
    assert set(config.model_costs) == {"gpt-4.1", "deepseek-v3.2"}
    performance = config.performance
    assert (performance.connection_timeout, performance.read_timeout) == (4, 44)
    assert (performance.request_timeout_buffer, performance.max_concurrent_requests) == (1, 10)
    assert config.batch.concurrency == 10
    assert (config.limits.requests_per_minute, config.limits.tokens_per_minute) == (60, 7000)
    assert (config.caching.enabled, str(config.caching.cache_dir), config.caching.ttl_seconds) == (
        False,
        "/srv/cache",
        5,
    )
    assert (config.logging.level, str(config.logging.log_dir)) == ("DEBUG", "/srv/log")
    assert config.security.proxy_url == "http://proxy:3128"
    assert (config.monitoring.enable_metrics, config.monitoring.metrics_port) == (False, 9191)
    assert config.routing.aliases == {"fast": "gpt-4.1"}


def test_no_secret_stands_in_the_document() -> None:
    spec, secrets = desired.document(
        values(ai_proxy_url="http://me:pass-word@proxy:3128"), RELEASE, list(desired.ALL_PARTS), ""
    )
    assert "hs_secret" not in repr(spec)
    assert "pass-word" not in repr(spec)
    key = spec["credentials"]["ai-client-api-key"]
    assert secrets[key] == "hs_secret\n"
    assert {(each["path"], each["mode"]) for each in spec["files"] if each["secret"]} == {
        (path, 0o400) for path in secrets
    }


@pytest.mark.parametrize(
    "section",
    [{"api": {"api_key": "x"}}, {"fleet": {"redis_url": "redis://:pw@h/0"}}, {"api": {"timeout": "1\n2"}}, {"api": 3}],
)
def test_free_configuration_that_holds_a_secret_or_a_trick_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(configuration.VariableError, match=r"ai_config: \["):
        desired.document(values(ai_config=section), RELEASE, list(desired.ALL_PARTS), "")


def test_limits_are_shared_through_a_store_whose_password_stands_nowhere_else(tmp_path: Path) -> None:
    url = "rediss+sentinel://ai-client:pass-word@10.0.0.1:26380,10.0.0.2:26380/ai-client-quota"
    given = values(ai_redis_url=url, ai_redis_ca="ca.pem")
    spec, secrets = desired.document(given, RELEASE, list(desired.ALL_PARTS), "", "", "PEM")
    assert "pass-word" not in repr(spec)
    by_path = {each["path"]: each for each in spec["files"]}
    assert by_path["/etc/ai-client/redis-ca.pem"]["content"] == "PEM"
    environment = secrets["/etc/ai-client/credentials/environment"]
    assert environment == f"AI_CLIENT_FLEET__BACKEND=redis\nAI_CLIENT_FLEET__REDIS_URL={url}\n"
    path = tmp_path / "ai-client.conf"
    path.write_text(by_path["/etc/ai-client/ai-client.conf"]["content"])
    assert load(path, {}).config.fleet.backend == "memory", "what reads it without the secret is not in its way"
    fleet = load(path, dict(line.split("=", 1) for line in environment.splitlines())).config.fleet
    assert (fleet.backend, fleet.redis_url, str(fleet.redis_ca)) == ("redis", url, "/etc/ai-client/redis-ca.pem")
    assert rendered(tmp_path, ai_redis_url="redis://10.0.0.1:6379/0").fleet.redis_url == "redis://10.0.0.1:6379/0"
    assert rendered(tmp_path).fleet.backend == "memory"


def test_prices_survive_a_command_line_that_cuts_them_at_blanks() -> None:
    assert configuration.costs("{'gpt-4.1':", "8, 'deepseek-v3.2': 0.42}") == {"gpt-4.1": "8", "deepseek-v3.2": "0.42"}
    assert configuration.costs("") == {}
    for broken in ("{'a':", "[1]"):
        with pytest.raises(configuration.VariableError, match="no mapping of models to prices"):
            configuration.costs(broken)


def test_tags_confine_the_work() -> None:
    everything = sorted(desired.ALL_PARTS)
    assert desired.parts(["all"], []) == everything
    assert desired.parts(["deploy", "config"], []) == everything
    assert desired.parts(["pip"], []) == ["package"]
    assert desired.parts(["all"], ["service"]) == ["config", "directory", "key", "package"]


def test_a_bundle_is_chosen_by_python_architecture_and_version(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ai-client bundle"):
        choose(str(tmp_path), "3.11", "x86_64", "")
    (tmp_path / "bundle.json").write_text(
        '{"format": 1, "version": "1.0", "releases":'
        ' [{"id": "1.0-a", "python": "3.11", "arch": "x86_64", "file": "a.tar.gz", "sha256": "00"}]}'
    )
    assert choose(str(tmp_path), "3.11", "x86_64", "1.0").archive == str(tmp_path / "a.tar.gz")
    with pytest.raises(BundleError, match=r"Python 3\.13 on x86_64, and the bundle .* is for Python 3\.11 on x86_64"):
        choose(str(tmp_path), "3.13", "x86_64", "")
    with pytest.raises(BundleError, match=r"ai_client_version is 2\.4\.1"):
        choose(str(tmp_path), "3.11", "x86_64", "2.4.1")
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(BundleError, match="not a bundle"):
        choose(str(tmp_path), "3.11", "x86_64", "")
