"""Loading: layers over one another, all mistakes at once, and where each value came from."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ai_client.config import layers
from ai_client.config.load import from_mapping, load, parse_text
from ai_client.errors import ConfigurationError

HERE = Path(__file__).parent


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_text(text, "f.conf")
    return list(caught.value.problems)


def test_without_anything_the_defaults_hold() -> None:
    config = from_mapping({})
    assert config.api.base_url == "https://api.holysheep.ai/v1"
    assert config.api.models == ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
    assert config.models.fallback == ()
    assert config.daemon.listen == ("127.0.0.1:8089",)
    assert config.fleet.node_name
    assert list(config.providers) == ["holysheep"]
    assert config.apps == {}
    assert config.model_costs == {}


def test_a_rendered_template_loads_as_it_stands() -> None:
    loaded = load(HERE / "rendered.conf", {"HOLYSHEEP_API_KEY": "hs_test_0123"})
    config = loaded.config
    assert config.models.default == "gpt-4.1"
    assert config.models.fallback == ("gpt-4.1",)
    assert config.model_costs["deepseek-v3.2"].output == Decimal("0.42")
    assert config.caching.enabled is True
    assert config.security.proxy_url == ""
    assert config.security.cert_path is None
    assert config.limits.requests_per_minute == 60
    assert loaded.warnings == (
        f"{HERE / 'rendered.conf'}:41: [monitoring] rate_limit is read as [limits] requests_per_minute: write it there",
    )


def test_the_example_loads_without_a_doubt() -> None:
    example = HERE.parents[2] / "examples" / "ai-client.conf"
    loaded = load(example, {"HOLYSHEEP_API_KEY": "hs_test_0123"})
    assert loaded.warnings == ()
    assert loaded.config.routing.aliases == {"fast": "gemini-2.5-flash", "cheap": "deepseek-v3.2"}


def test_the_commented_parts_of_the_example_load_too(tmp_path: Path) -> None:
    example = HERE.parents[2] / "examples" / "ai-client.conf"
    head, _, tail = example.read_text().partition("# A further provider")
    lines = [line.removeprefix("# ") for line in tail.splitlines() if "=" in line or line.startswith("# [")]
    path = tmp_path / "ai-client.conf"
    path.write_text("\n".join([head, *(line for line in lines if not line[0].isupper() and " `" not in line)]))
    config = load(path, {"HOLYSHEEP_API_KEY": "hs_test_0123"}).config
    assert config.providers["vllm"].upstream_model("llama-3.1-8b") == "meta-llama/Llama-3.1-8B-Instruct"
    assert config.apps["nightly-report"].budget_usd_per_day == 5


def test_layers_win_over_one_another_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(
        "[api]\ntimeout = 1\nmax_retries = 1\n[caching]\nenabled = no\n[security]\nproxy_url = http://p:1\n"
    )
    drop_ins = tmp_path / "a.conf.d"
    drop_ins.mkdir()
    (drop_ins / "20.conf").write_text("[api]\ntimeout = 20\n[security]\nproxy_url =\n")
    (drop_ins / "10.conf").write_text("[api]\ntimeout = 10\nmax_retries = 10\n")
    (drop_ins / ".hidden.conf").write_text("nonsense")
    (drop_ins / "30.conf~").write_text("nonsense")
    loaded = load(path, {"AI_CLIENT_API__TIMEOUT": "30", "AI_CLIENT_API__MAX_RETRIES": ""})
    assert (loaded.config.api.timeout, loaded.config.api.max_retries) == (30.0, 10)
    assert loaded.config.caching.enabled is False
    assert loaded.config.security.proxy_url == ""
    assert loaded.origins["api", "timeout"] == "env AI_CLIENT_API__TIMEOUT"
    assert loaded.origins["api", "max_retries"] == f"{drop_ins}/10.conf:3"
    assert loaded.origins["caching", "enabled"] == f"{path}:5"
    assert loaded.origins["caching", "scope"] == "default"


def test_the_file_is_the_given_one_then_the_variables_then_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, named, given = (tmp_path / name for name in ("usual", "named", "given"))
    monkeypatch.setattr(layers, "DEFAULT_PATH", usual)
    assert load(None, {}).config.api.timeout == 30.0
    for number, path in enumerate((usual, named, given), start=1):
        path.write_text(f"[api]\ntimeout = {number}\n")
    assert load(None, {}).config.api.timeout == 1.0
    assert load(None, {"AI_CLIENT_CONFIG": str(named)}).config.api.timeout == 2.0
    assert load(given, {"AI_CLIENT_CONFIG": str(named)}).config.api.timeout == 3.0


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing: cannot be read: No such file or directory"):
        load(tmp_path / "missing", {})
    (tmp_path / "large").write_bytes(b"#" * (4 * 1024**2 + 1))
    with pytest.raises(ConfigurationError, match="not a configuration"):
        load(tmp_path / "large", {})
    (tmp_path / "a").write_text("")
    (tmp_path / "a.d").write_text("")
    with pytest.raises(ConfigurationError, match=r"a\.d: cannot be read: Not a directory"):
        load(tmp_path / "a", {})


def test_every_mistake_is_a_problem_in_order_with_its_line() -> None:
    text = """\
[api]
timeot = 3
timeout = soon
base_url = https://user:pass@h/v1
nonsense
[logging]
level = WARNIN
[limit]
anything = 1
[caching]
read_timeout = 4
[provider a b]
models = *
[app x]
[api]
timeout = 5
[models]
default = gpt-4.2
"""
    assert problems(text) == [
        "f.conf:2: [api] timeot: unknown key; did you mean timeout?",
        "f.conf:3: [api] timeout = soon: expected a number from 0.001 to 86400 (seconds)",
        (
            "f.conf:4: [api] base_url = https://********@h/v1:"
            " expected an http:// or https:// URL without user, query or fragment"
        ),
        "f.conf:5: expected `key = value`, `[section]`, or a comment that begins with #",
        "f.conf:7: [logging] level = WARNIN: expected DEBUG, INFO, WARNING, ERROR or CRITICAL; did you mean WARNING?",
        "f.conf:8: [limit]: expected [limit NAME], in letters, digits, dots, dashes and underscores, or [limits]",
        "f.conf:11: [caching] read_timeout: unknown key here; did you mean [performance] read_timeout?",
        "f.conf:12: [provider a b]: expected [provider NAME], in letters, digits, dots, dashes and underscores",
        "f.conf:14: [app x] needs token_sha256 or uid: nothing tells who this app is",
        "f.conf:16: [api] timeout is given twice; first in line 3",
        "f.conf:18: [models] default = gpt-4.2: no provider serves it; did you mean gpt-4.1?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[zzz]\n", "f.conf:1: [zzz]: unknown section; known: [api], [models], "),
        ("[provider]\n", "f.conf:1: [provider]: expected [provider NAME]"),
        ("[api x]\n", "f.conf:1: [api x]: unknown section; did you mean [api]?"),
        ("[monitoring]\nzzz = 1\n", "f.conf:2: [monitoring] zzz: unknown key; known here: enable_metrics, "),
        (
            "[api]\nrate_limit = 1\n",
            "f.conf:2: [api] rate_limit: unknown key here; did you mean [limits] requests_per_",
        ),
        ("[model_costs]\na b = 1\n", "f.conf:2: [model_costs] a b: expected a model's name"),
        ("[model_costs]\ngpt-4.1 = free\n", "f.conf:2: [model_costs] gpt-4.1 = free: expected prices of 0 or more"),
        ("[performance]\nrate_limit = many\n", "f.conf:2: [performance] rate_limit = many: expected a whole number"),
        ("Dear reader,\n", "f.conf:1: expected a `[section]`; the file has none"),
        ("[api]\ntimeout =\n", "f.conf:2: [api] timeout = : expected a number"),
        (
            "[security]\nproxy_url = http://u:secret@h/x\n",
            "f.conf:2: [security] proxy_url = (hidden): expected http://",
        ),
    ],
)
def test_a_mistake_says_where_what_and_what_is_allowed(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_an_overridden_mistake_is_still_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[api]\ntimeout = soon\n")
    with pytest.raises(ConfigurationError, match=r"a\.conf:2: \[api\] timeout = soon"):
        load(path, {"AI_CLIENT_API__TIMEOUT": "30"})


def test_prose_before_the_first_section_is_only_doubtful() -> None:
    loaded = parse_text("A title\nof two lines\n[api]\ntimeout = 3\n")
    assert loaded.config.api.timeout == 3.0
    assert loaded.warnings[0] == "ai-client.conf:1: text before the first section is not read; begin it with #"


def test_its_own_place_wins_over_another_place_of_the_same_key() -> None:
    text = "[limits]\nrequests_per_minute = 7\n[monitoring]\nrate_limit = 60\n"
    assert parse_text(text).config.limits.requests_per_minute == 7
    assert parse_text("[performance]\nrate_limit = 60\n").config.limits.requests_per_minute == 60


def test_a_mapping_is_held_to_the_same_rules() -> None:
    config = from_mapping({"api": {"timeout": " 5 "}, "provider local": {"base_url": "http://h/v1", "models": "*"}})
    assert config.providers["local"].timeout == 5.0
    with pytest.raises(ConfigurationError) as caught:
        from_mapping({"api": {"timeot": "5", "timeout": "x\u200b"}, "apii": {}})
    assert caught.value.problems == (
        "given: [apii]: unknown section; did you mean [api]?",
        "given: [api] timeot: unknown key; did you mean timeout?",
        "given: [api] timeout = x\\x200b: a character that cannot be seen, U+200B, at column 2",
    )


class TestEnvironment:
    """Variables over everything."""

    def load(self, environ: dict[str, str], text: str = "") -> layers.Layer:
        findings = layers.Findings()
        below = [layers.from_text(text, "f.conf", 0, findings)]
        layer = layers.from_environment(environ, below, findings)
        findings.raise_problems()
        return layer

    def test_variables_name_sections_and_keys(self) -> None:
        layer = self.load({"AI_CLIENT_MODELS__DEFAULT": " gpt-4.1 ", "PATH": "/bin", "AI_CLIENT_CONFIG": "/x"})
        assert [(entry.section, entry.key, entry.text) for entry in layer.entries] == [("models", "default", "gpt-4.1")]

    def test_named_sections_are_found_by_likeness_or_made(self) -> None:
        environ = {"AI_CLIENT_PROVIDER_MY_LAB__MODELS": "*", "AI_CLIENT_APP_NEW_ONE__UID": "1"}
        layer = self.load(environ, "[provider My-Lab]\nbase_url = http://h/v1\n")
        assert [entry.section for entry in layer.entries] == ["app new_one", "provider My-Lab"]

    def test_models_are_found_by_likeness_wherever_they_are_named(self) -> None:
        text = "[model_costs]\nOrg/Big-1 = 1\n[provider p]\nbase_url = http://h/v1\nmodels = small=org/small-1\n"
        environ = {
            "AI_CLIENT_API__MODELS": "mid-1",
            "AI_CLIENT_MODEL_COSTS__GPT_4_1": "2",
            "AI_CLIENT_MODEL_COSTS__MID_1": "5",
            "AI_CLIENT_MODEL_COSTS__ORG_BIG_1": "3",
            "AI_CLIENT_MODEL_COSTS__SMALL": "4",
        }
        layer = self.load(environ, text)
        keys = [entry.key for entry in layer.entries]
        assert keys == ["models", "gpt-4.1", "mid-1", "Org/Big-1", "small"]

    def test_what_is_unknown_is_refused(self) -> None:
        environ = {"AI_CLIENT_APII__TIMEOUT": "1", "AI_CLIENT_MODEL_COSTS__NOBODY": "1", "AI_CLIENT_PROVIDER__X": "1"}
        with pytest.raises(ConfigurationError) as caught:
            self.load(environ)
        assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
            "[apii]: unknown section; did you mean [api]?",
            "[model_costs] nobody: no model of such a name is configured",
            "[provider]: expected [provider NAME], in letters, digits, dots, dashes and underscores",
        ]

    def test_what_is_not_of_the_form_is_only_doubtful(self) -> None:
        findings = layers.Findings()
        environ = {"AI_CLIENT_API_TIMEOUT": "1", "AI_CLIENT_HOME": "1", "AI_CLIENT_METRICS_PORT": "1"}
        assert layers.from_environment(environ, [], findings).entries == []
        assert findings.warnings == [
            (
                "env AI_CLIENT_API_TIMEOUT is not read: variables are AI_CLIENT_SECTION__KEY; did you mean"
                " AI_CLIENT_API__TIMEOUT?"
            ),
            "env AI_CLIENT_HOME is not read: variables are AI_CLIENT_SECTION__KEY",
            (
                "env AI_CLIENT_METRICS_PORT is not read: variables are AI_CLIENT_SECTION__KEY; did you mean"
                " AI_CLIENT_MONITORING__METRICS_PORT?"
            ),
        ]
