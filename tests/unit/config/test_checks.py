"""Checks with the whole configuration in view: providers and what they inherit, models, apps, doubts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.config.load import parse_text
from ai_client.config.snapshot import Snapshot
from ai_client.errors import ConfigurationError
from tests.wire import CERTIFICATES

LOCAL = "[provider local]\nbase_url = http://127.0.0.1:1/v1\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
TOKEN = "ab" * 32


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_text(text, "f.conf")
    (only,) = caught.value.problems
    return only


def doubts(text: str) -> list[str]:
    return [warning for warning in parse_text(text, "f.conf").warnings if "no API key" not in warning]


class TestProviders:
    """Every provider comes complete."""

    def test_the_api_section_is_the_first_provider(self) -> None:
        config = parse_text(f"{LOCAL}models = x\n[api]\nprovider = main\ntimeout = 7\nstream_usage = no\n").config
        assert list(config.providers) == ["main", "local"]
        main = config.providers["main"]
        assert (main.name, main.base_url, main.timeout, main.stream_usage) == ("main", config.api.base_url, 7.0, False)
        assert main.models == config.api.models

    def test_what_is_unset_is_inherited_and_what_is_set_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text(CERTIFICATE)
        text = (
            f"[api]\ntimeout = 7\nconnection_pool_size = 8\n[limits]\nrequests_per_minute = 9\ntokens_per_minute = 10\n"
            f"[performance]\nmax_concurrent_requests = 11\n[security]\nverify_ssl = no\nproxy_url = http://p:1\n"
            f"cert_path = {tmp_path}/ca.pem\n{LOCAL}models = *\n"
        )
        local = parse_text(text).config.providers["local"]
        assert (local.timeout, local.connection_pool_size, local.requests_per_minute) == (7.0, 8, 9)
        assert (local.tokens_per_minute, local.max_concurrent_requests) == (10, 11)
        assert (local.verify_ssl, local.proxy_url, local.cert_path) == (False, "http://p:1", tmp_path / "ca.pem")
        loaded = parse_text(f"{text}timeout = 1\nrequests_per_minute =\nproxy_url = none\nverify_ssl = yes\n")
        local = loaded.config.providers["local"]
        assert (local.timeout, local.requests_per_minute, local.proxy_url, local.verify_ssl) == (1.0, 9, "", True)
        assert loaded.origins["provider local", "requests_per_minute"] == "[limits] requests_per_minute"

    def test_models_may_be_renamed_or_open(self) -> None:
        local = parse_text(f"{LOCAL}models = small = org/small-1, big\n").config.providers["local"]
        assert local.models == ("small", "big")
        assert [local.upstream_model(name) for name in local.models] == ["org/small-1", "big"]
        assert (local.open, local.serves("small"), local.serves("org/small-1")) == (False, True, False)
        any_name = parse_text(f"{LOCAL}models = *\n").config.providers["local"]
        assert (any_name.open, any_name.serves("whatever")) == (True, True)

    def test_what_is_required_must_be_given(self) -> None:
        assert problem("[provider p]\nmodels = *\n").startswith("f.conf:1: [provider p] base_url is missing: expected")
        assert problem(LOCAL).startswith("f.conf:1: [provider local] models is missing: expected names of models")
        assert problem("[provider p]\nmodels = *\nbase_url = h\n").startswith("f.conf:3: [provider p] base_url = h:")

    def test_two_providers_cannot_share_a_name(self) -> None:
        text = "[provider holysheep]\nbase_url = http://h/v1\nmodels = *\n"
        assert (
            problem(text) == "f.conf:1: [provider holysheep]: [api] is called holysheep already; rename one of the two"
        )


class TestModels:
    """Names that refer to models."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[models]\ndefault = gpt-4\n", "f.conf:2: [models] default = gpt-4: no provider serves it; did you mean "),
            ("[models]\nfallback = gpt-4.1, x\n", "f.conf:2: [models] fallback = x: no provider serves it"),
            ("[routing]\nsimple = x\n", "f.conf:2: [routing] simple = x: no provider serves it"),
            ("[routing]\naliases = fast: x\n", "f.conf:2: [routing] aliases = x: no provider serves it"),
            ("[app a]\nuid = 1\nmodels = x\n", "f.conf:3: [app a] models = x: no provider serves it"),
        ],
    )
    def test_a_model_that_nobody_serves_is_a_mistake(self, text: str, expected: str) -> None:
        assert problem(text).startswith(expected)

    def test_an_alias_or_auto_will_do_for_the_default(self) -> None:
        text = "[routing]\naliases = fast: gpt-4.1\n[models]\nfallback = fast\ndefault = "
        assert parse_text(f"{text}fast\n").config.models.default == "fast"
        assert parse_text(f"{text}auto\n").config.models.default == "auto"

    def test_nothing_is_asked_of_names_while_some_provider_takes_any(self) -> None:
        assert parse_text(f"[models]\ndefault = x\n{LOCAL}models = *\n").config.models.default == "x"

    def test_a_provider_that_could_not_be_read_is_mistake_enough(self) -> None:
        assert problem("[api]\nmodels = a b\n[models]\ndefault = a\n").startswith(
            "f.conf:2: [api] models = a b: expected"
        )
        assert problem(f"[models]\ndefault = a\n{LOCAL}models = a b\n").startswith("f.conf:5: [provider local] models")

    def test_a_provider_that_lacks_its_url_hides_no_other_mistake(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            parse_text("[provider p]\nmodels = a, b=c\n[models]\ndefault = c\nfallback = b\n", "f.conf")
        first, second = caught.value.problems
        assert first.startswith("f.conf:1: [provider p] base_url is missing")
        assert second.startswith("f.conf:4: [models] default = c: no provider serves it")

    def test_defaults_and_prices_that_nobody_serves_are_doubtful(self) -> None:
        text = (
            "[api]\nmodels = llama-8b, qwen-7b\n[models]\ndefault = qwen-7b\n[model_costs]\nllama-9b = 1\nqwen-7b = 1\n"
        )
        warnings = parse_text(text).warnings
        assert warnings[0] == (
            "[routing] simple, moderate, complex: no provider serves their defaults, deepseek-v3.2, gemini-2.5-flash, "
            "claude-sonnet-4.5: `auto` wants others"
        )
        assert not any("[routing]" in warning for warning in warnings[1:])
        assert "[model_costs] llama-9b: no provider serves it; did you mean llama-8b?" in warnings
        assert not any(warning.startswith("[model_costs] qwen-7b:") for warning in warnings)


class TestWhole:
    """Keys that must fit one another."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "[routing]\nretry_base_delay = 60\n",
                "f.conf:2: [routing] retry_max_delay = 30: expected at least retry_base_delay, 60",
            ),
            (
                "[performance]\ntotal_timeout = 1\n",
                "f.conf:2: [performance] total_timeout = 1: expected at least request_timeout_buffer, 5",
            ),
            ("[fleet]\nbackend = redis\n", "f.conf:2: [fleet] backend = redis: redis_url is missing"),
            ("[fleet]\nbackend = redis\nredis_url = h\n", "f.conf:3: [fleet] redis_url = (hidden): expected redis://"),
            (
                f"[app a]\ntoken_sha256 = {TOKEN}\n[app b]\ntoken_sha256 = {TOKEN.upper()}\n",
                "f.conf:3: [app b] token_sha256 is that of [app a] already",
            ),
            ("[app a]\nuid = 1\n[app b]\nuid = 1\n", "f.conf:3: [app b] uid 1 is that of [app a] already"),
            ("[app a]\ntoken_sha256 = secret\n", "f.conf:2: [app a] token_sha256 = (hidden): expected 64 hexadecimal"),
        ],
    )
    def test_mistakes(self, text: str, expected: str) -> None:
        assert problem(text).startswith(expected)

    def test_certificates_must_be_there_and_be_certificates(self, tmp_path: Path) -> None:
        text = f"[security]\ncert_path = {tmp_path}/ca.pem\n"
        assert problem(text).endswith("/ca.pem: expected a file; there is none")
        (tmp_path / "ca.pem").write_bytes(b"\x30\x82")
        assert problem(text).endswith("expected certificates in PEM form; there are none in it")
        (tmp_path / "ca.pem").write_text(CERTIFICATE)
        assert parse_text(text).config.security.cert_path == tmp_path / "ca.pem"
        assert "cannot be read" in problem(f"[security]\ncert_path = /{'x' * 300}\n")

    def test_apps_have_defaults(self) -> None:
        app = parse_text(f"[app a]\ntoken_sha256 = {TOKEN.upper()}\nbudget_usd_per_day = 0.50\n").config.apps["a"]
        assert (app.name, app.tag, app.priority, app.models, app.uid) == ("a", "a", 5, (), None)
        assert app.token_sha256 == TOKEN
        assert TOKEN not in repr(app)


class TestDoubts:
    """What works, but deserves a word."""

    def test_verification_turned_off_is_said_loudly(self) -> None:
        (warning,) = doubts("[security]\nverify_ssl = no\n")
        assert "ANYBODY ON THE WAY CAN READ" in warning
        assert doubts(f"{LOCAL}models = *\nverify_ssl = no\n") == []

    def test_a_key_in_the_clear(self) -> None:
        text = "[provider p]\nmodels = *\napi_key = abc\nbase_url = http://{}/v1\n"
        assert doubts(text.format("llm.example.com")) == [
            "provider p: the API key travels unencrypted to llm.example.com; use https://"
        ]
        assert doubts(text.format("127.0.0.1:1")) == doubts(text.format("[::1]:1")) == []

    def test_no_key(self) -> None:
        assert any("no API key" in warning for warning in parse_text("").warnings)
        assert parse_text("[api]\nbase_url = http://localhost:1/v1\n").warnings == ()

    def test_listening_beyond_this_node_without_apps(self) -> None:
        text = "[daemon]\nlisten = 0.0.0.0:80, [::1]:80, unix:/run/x\n"
        opens = "[daemon] listen = 0.0.0.0:80: the daemon will not open it without "
        assert doubts(text) == [f"{opens}a token for every [app NAME] and tls_cert and tls_key"]
        assert doubts(f"{text}[app a]\ntoken_sha256 = {TOKEN}\n") == [f"{opens}tls_cert and tls_key"]
        certified = f"{text}tls_cert = {CERTIFICATES / 'server.pem'}\n"
        assert doubts(f"{certified}[app a]\nuid = 1\n") == [f"{opens}a token for every [app NAME]"]
        assert doubts(f"{certified}[app a]\ntoken_sha256 = {TOKEN}\n") == []

    def test_tls_that_was_asked_for_on_loopback(self) -> None:
        text = "[daemon]\nlisten = https://127.0.0.1:80, https://[::1]:80\n"
        assert [warning.partition(": ")[2] for warning in doubts(text)] == [
            "the daemon will not open it without tls_cert and tls_key"
        ] * 2
        assert doubts(f"{text}tls_cert = {CERTIFICATES / 'server.pem'}\n") == []

    def test_metrics_beyond_this_node(self) -> None:
        text = "[monitoring]\nmetrics_host = 10.0.0.1\n"
        (warning,) = doubts(text)
        assert warning.endswith("the daemon will not open it without metrics_public = true")
        assert doubts(f"{text}metrics_public = yes\n") == []


def test_a_snapshot_is_swapped_whole() -> None:
    first, second = parse_text("").config, parse_text("[api]\ntimeout = 1\n").config
    assert first != second
    snapshot = Snapshot(first)
    kept = snapshot.current
    assert snapshot.replace(second) is first
    assert (kept, snapshot.current) == (first, second)


def test_nothing_secret_is_in_the_representation() -> None:
    text = "[api]\napi_key = hs_secret\n[security]\nproxy_url = http://u:secret@h:1\n[fleet]\nredis_url = redis://:secret@h\n"
    config = parse_text(text).config
    assert config.security.proxy_url == "http://u:secret@h:1"
    assert "secret" not in repr(config)


def test_bounds_of_concurrency_are_in_order() -> None:
    assert "max_concurrent = 5: expected at least initial_concurrent, 10" in problem("[adaptive]\nmax_concurrent = 5\n")
    assert "expected at least min_concurrent, 30" in problem("[adaptive]\nmin_concurrent = 30\n")
