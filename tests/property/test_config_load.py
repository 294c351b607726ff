"""Whatever is written in a configuration: it loads, or it is refused with every mistake told and no secret shown."""

from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_client.config import ini, layers
from ai_client.config.load import parse_text
from ai_client.config.sections import SECTIONS
from ai_client.errors import ConfigurationError

PLAIN = [name for name, section in SECTIONS.items() if not section.named]
SECTION_NAMES = [*PLAIN, "provider p", "app a", "provider x y"]
KEYS = sorted({key for section in SECTIONS.values() for key in section.keys} | {"gpt-4.1", "rate_limit"})
VALUES = [
    "", "0", "1", "-1", "0.5", "nan", "1e999", "true", "none", "auto", "*", "a=b", "a:b", "a, b", ",", "8/", "1/2/3",
    "http://h", "https://h:x", "http://[", "redis://h", "unix:/x", "127.0.0.1:0", "/", "/proc/self/mem", "hs_x",
    "\ud800", "ab" * 32, "9" * 5000, "gpt-4.1", "x" * 300,
]  # fmt: skip

values = st.sampled_from(VALUES) | st.text(max_size=30)
names = st.sampled_from(SECTION_NAMES) | st.text(max_size=10)
keys = st.sampled_from(KEYS) | st.text(max_size=10)
items = st.builds("{} = {}".format, keys, values)
headers = st.builds("[{}]".format, names)
files = st.lists(headers | items | items | items | st.text(max_size=20), max_size=30).map("\n".join)

# The first example pays for imports; a slow machine is no failure of the property.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mistakes(text: str) -> list[str]:
    """The problems of a file; none when it loads."""
    try:
        parse_text(text, "f.conf")
    except ConfigurationError as error:
        return list(error.problems)
    return []


@relaxed
@given(st.text() | files)
def test_any_text_loads_or_is_refused(text: str) -> None:
    for problem in mistakes(text):
        assert problem.startswith("f.conf:") or "api_key" in text
        assert problem.isprintable()


@relaxed
@given(st.binary())
def test_any_bytes_are_read(content: bytes) -> None:
    mistakes(ini.decode(content))


@relaxed
@given(st.dictionaries(st.builds("AI_CLIENT_{}__{}".format, names, keys) | st.text(), values))
def test_any_environment_is_read(environ: dict[str, str]) -> None:
    findings = layers.Findings()
    layers.from_environment(environ, [], findings)


@relaxed
@given(st.data())
def test_every_mistake_is_told_once_with_its_line(data: st.DataObject) -> None:
    good = ["# comment", "", "stream_usage = yes", "max_retries = 5"]
    bad = [
        "nonsense",
        "= 1",
        "timeout = soon",
        "timeot = 1",
        "base_url = ftp://h",
        "connection_pool_size = 0",
        "dialect = klingon",
        "models = a b",
        "api_key = a b",
        "provider = -",
    ]
    chosen = data.draw(st.lists(st.sampled_from(bad), unique=True))
    lines = data.draw(st.permutations([*good, *chosen]))
    expected = [number for number, line in enumerate(lines, start=2) if line in chosen]
    found = mistakes("\n".join(["[api]", *lines]))
    assert [int(problem.split(":")[1]) for problem in found] == expected


@relaxed
@given(
    st.sampled_from(SECTION_NAMES),
    keys,
    st.sampled_from(["{}", "x {}", "http://u:{}@h", "{},", "{} {}", "/{}/x", "a={}"]),
    st.from_regex(r"(hs_|sk-)[A-Za-z0-9]{20}", fullmatch=True),
)
def test_a_key_in_the_wrong_place_is_not_repeated(section: str, key: str, form: str, secret: str) -> None:
    text = f"[{section}]\n{key} = {form.format(secret, secret)}\n{secret}\n{secret} = 1\n[{secret}]\n"
    found = mistakes(text)
    assert found
    assert re.search(re.escape(secret[3:]), "\n".join(found)) is None
