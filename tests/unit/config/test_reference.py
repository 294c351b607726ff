"""The reference page is what the schema says, and every key in it means something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_client.config.load import parse_text
from ai_client.config.reference import effective, markdown, rows

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == markdown(), "run: ai-client config keys --markdown > docs/reference/configuration.md"


def test_every_key_says_what_it_means() -> None:
    for row in rows():
        assert str(row["meaning"]).endswith("."), row
        assert row["allowed"], row
        assert str(row["key"]).endswith(("seconds", "timeout", "delay", "wait", "buffer")) == (
            row["unit"] == "seconds"
        ), row


def test_every_key_of_the_common_template_is_there() -> None:
    known = {(row["section"], row["key"]) for row in rows()}
    rendered = parse_text((Path(__file__).parent / "rendered.conf").read_text(), "rendered.conf")
    given = {where for where, origin in rendered.origins.items() if origin.startswith("rendered.conf")}
    assert len(given) >= 26
    assert {where for where in given if where[0] != "model_costs"} <= known


def test_effective_values_mask_secrets_and_keep_types() -> None:
    token = "ab" * 32
    text = (
        "[api]\napi_key = hs_secret\n[security]\nproxy_url = http://u:secret@h:1\n[fleet]\nredis_url = redis://:secret@h\n"
        f"[app a]\ntoken_sha256 = {token}\n[provider p]\nbase_url = http://h/v1\nmodels = a=b, *\napi_key = secret\n"
        "[model_costs]\nm = 1/2\n[routing]\naliases = x: gpt-4.1\n"
    )
    loaded = parse_text(text, "f.conf")
    values = {(each.section, each.key): each for each in effective(loaded)}
    assert "secret" not in repr(values)
    assert token not in repr(values)
    assert values["api", "api_key"].text == values["app a", "token_sha256"].text == "********"
    assert values["security", "proxy_url"].text == "http://********@h:1"
    assert values["provider p", "models"].value == ["a=b", "*"]
    assert values["provider p", "timeout"].origin == "[api] timeout"
    assert values["model_costs", "m"].text == "1/2"
    assert values["model_costs", "m"].origin == "f.conf:14"
    assert values["routing", "aliases"].value == {"x": "gpt-4.1"}
    assert values["api", "timeout"].value == 30.0
    assert values["api", "stream_usage"].value is True
    assert values["api", "api_key_file"].value is None
    json.dumps([each.value for each in values.values()])


def test_effective_values_have_the_further_limits_with_their_amounts_as_in_a_file() -> None:
    loaded = parse_text(
        "[limit research]\nscope = tag\nrequests = 500/minute, 20/second\ndollars = 2.5/day\n", "f.conf"
    )
    values = {each.key: each for each in effective(loaded) if each.section == "limit research"}
    assert (values["requests"].text, values["requests"].origin) == ("500/minute, 20/second", "f.conf:3")
    assert values["dollars"].value == values["dollars"].text == "2.5/day"
    assert (values["tokens"].value, values["tokens"].origin) == ("", "default")


def test_effective_values_load_again_to_the_same_configuration() -> None:
    first = parse_text(
        "[provider p]\nbase_url = http://h/v1\nmodels = a=b\n[app a]\nuid = 0\n[model_costs]\nm = 1\n"
        "[limit l]\nscope = model\ntokens = 7/hour\ndollars = 0.001/second\n"
    )
    lines: list[str] = []
    for each in effective(first):
        lines += [f"[{each.section}]"] * (f"[{each.section}]" not in lines) + [f"{each.key} = {each.text}"]
    assert parse_text("\n".join(lines)).config == first.config


@pytest.mark.parametrize("section", ["api", "provider NAME", "app NAME", "model_costs"])
def test_every_section_has_a_heading(section: str) -> None:
    assert f"\n## [{section}]\n" in markdown()
