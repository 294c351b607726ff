"""[streams]: when a streamed answer begins to reach its caller, and who may take one up."""

from __future__ import annotations

import pytest

from ai_client.config.load import parse_text
from ai_client.config.streams import continuers
from ai_client.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        ("", {}, ""),
        ("a", {"a": "plain"}, "a"),
        ("a, b:Prefix , c: vllm, d : echo", {"a": "plain", "b": "prefix", "c": "vllm", "d": "echo"}, None),
        ("llama3:8b, org/m:free", {"llama3:8b": "plain", "org/m:free": "plain"}, "llama3:8b, org/m:free"),
        ("llama3:8b: vllm", {"llama3:8b": "vllm"}, "llama3:8b: vllm"),
        ("a: plain", {"a": "plain"}, "a"),
    ],
)
def test_models_that_go_on(text: str, found: dict[str, str], shown: str | None) -> None:
    kind = continuers()
    assert kind.parse(text) == found
    assert kind.parse(kind.show(kind.parse(text))) == found
    assert shown in (None, kind.show(found))


@pytest.mark.parametrize("text", ["a, a", "a, a: vllm", ": vllm", "a b", "a,,b", "a=b", "*"])
def test_what_is_no_list_of_them(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        continuers().parse(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("commit = later", "expected first_content or whole"),
        ("whole_models = gpt-4", "no provider serves it; did you mean gpt-4.1?"),
        ("continue_models = gpt-4: vllm", "no provider serves it; did you mean gpt-4.1?"),
        ("continue_models = a b", "expected names of models separated by commas"),
        ("hold_mb = 0", "expected a whole number from 1 to 1024"),
    ],
)
def test_mistakes_are_named(line: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_text(f"[streams]\n{line}\n", "f.conf")
    (problem,) = caught.value.problems
    assert said in problem


def test_an_app_may_have_its_own() -> None:
    text = f"[app a]\ntoken_sha256 = {'ab' * 32}\n[app b]\nuid = 7\ncommit = WHOLE\n[streams]\ncommit = first_content\n"
    config = parse_text(text).config
    assert (config.apps["a"].commit, config.apps["b"].commit, config.streams.commit) == (None, "whole", "first_content")
