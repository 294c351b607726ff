"""What can go stale in the documentation: generated pages, links, command lines, keys, Python, examples."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import click
import pytest

import ai_client
from ai_client.cli.group import cli
from ai_client.config.load import parse_text
from ai_client.config.sections import SECTIONS
from ai_client.errors import ConfigurationError
from ai_client.telemetry import catalogue
from tests.collection import variables
from tests.reference import FOLDER, pages

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
UNITS: Final = ROOT / "examples" / "systemd"

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_VARIABLE: Final = re.compile(r"AI_CLIENT_([A-Z]+(?:_[A-Z]+)*)__([A-Z][A-Z_]*[A-Z])")
_KEY_SPAN: Final = re.compile(r"\[([\w-]+)(?: [\w.-]+)?\](?: (\w+).*)?")


class Block(NamedTuple):
    """A fenced block, or one that is indented by four spaces: `language` is empty there."""

    language: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    """Every block of code."""
    for found in _FENCE.finditer(text):
        yield Block(found[1], found[2])
    for paragraph in re.split(r"\n(?=\S)|\n\n(?!    )", _FENCE.sub("", text)):
        lines = [line[4:] for line in paragraph.splitlines() if line.startswith("    ")]
        if lines:
            yield Block("", "\n".join(lines))


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text)


def command_lines(text: str) -> Iterator[str]:
    """The `ai-client …` commands of all blocks that a reader would type, without prompt and path."""
    for block in blocks(text):
        if block.language in ("", "sh", "console"):
            for line in block.text.splitlines():
                found = re.match(r"(?:\$ )?(?:\w+=\S+ |runuser -u \S+ -- )*(?:\S*/)?ai-client( .*)?$", line)
                if found:
                    yield (found[1] or "").strip()


def arguments(line: str) -> list[str]:
    """The words of a command up to where the shell takes over. Comments are none of them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>"):
            break
        words.append(word)
    return words


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, without running it. Raises `click.UsageError`."""
    command: click.Command = cli
    context = click.Context(cli, info_name="ai-client")
    rest = list(words)
    while True:
        try:
            context = command.make_context(command.name, rest, parent=context)
        except click.exceptions.Exit:  # --help and --version end here
            return
        if not isinstance(command, click.Group):
            return
        names = [*context._protected_args, *context.args]
        if not names:
            return
        found = command.get_command(context, names[0])
        if found is None:
            raise click.UsageError(f"there is no command {' '.join(names)}")
        command, rest = found, names[1:]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def stands(section: str, key: str) -> bool:
    """Does the configuration have `[section] key`?"""
    known = SECTIONS.get(section)
    if known is None:
        return False
    return not key or known.free is not None or key in known.keys or key in _renamed().get(section, ())


def _renamed() -> Mapping[str, set[str]]:
    """Keys that are read in another place than their own, by section."""
    places: dict[str, set[str]] = {}
    for section in SECTIONS.values():
        for key in section.keys.values():
            for place, name in key.also:
                places.setdefault(place, set()).add(name)
    return places


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", list(pages()))
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == pages()[name](), "run: python -m tests.reference"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in _LINK.findall(prose(text)):
        if re.match(r"https?:|mailto:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (page.parent / place) if place else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text("utf-8")), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    listed = {(ROOT / "docs" / target).resolve() for target in _LINK.findall(index)}
    assert {page for page in PAGES if "docs" in page.relative_to(ROOT).parts[:-1]} - listed == {
        ROOT / "docs" / "README.md"
    }


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_command_lines_parse(page: Path) -> None:
    for line in command_lines(page.read_text("utf-8")):
        try:
            parse(arguments(line))
        except click.UsageError as error:
            pytest.fail(f"ai-client {line}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    """`ai-client batch` in a sentence lacks its arguments: here only its words have to exist."""
    for span in _SPAN.findall(prose(page.read_text("utf-8"))):
        if not span.startswith("ai-client ") or span.startswith("ai-client …"):
            continue
        words = span.split()[1:]
        command: click.Command = cli
        known = {"-h", "--help"}
        for word in words:
            if word.startswith("-"):
                known |= {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
                assert word.partition("=")[0] in known, span
            elif isinstance(command, click.Group) and not word.isupper():
                found = command.get_command(click.Context(command), word)
                assert found is not None, span
                command = found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_keys_of_the_configuration_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for span in _SPAN.findall(prose(text)):
        found = _KEY_SPAN.fullmatch(span)
        if found and (found[1] in SECTIONS or found[2]):
            assert stands(found[1], found[2] or ""), span
    for head, key in _VARIABLE.findall(text):
        section = head.lower().partition("_")[0] if head.startswith(("PROVIDER_", "KEY_", "APP_")) else head.lower()
        assert (head, key) == ("SECTION", "KEY") or stands(section, key.lower()), (head, key)


def ini_blocks() -> Iterator[tuple[Path, str]]:
    """Every configuration in the documentation. Units of systemd are no configuration of ours."""
    for page in PAGES:
        for block in blocks(page.read_text("utf-8")):
            if block.language == "ini" and "[Service]" not in block.text:
                yield page, block.text


@pytest.mark.parametrize(
    ("page", "text"), list(ini_blocks()), ids=lambda each: _name(each) if isinstance(each, Path) else ""
)
def test_configurations_load(page: Path, text: str) -> None:
    try:
        parse_text(text, page.name)
    except ConfigurationError as error:
        # what names a model of another block's provider needs that block beside it; files are the reader's
        problems = [problem for problem in error.problems if not problem.endswith(": No such file or directory")]
        if problems:
            pytest.fail("\n".join(problems))


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.conf")), ids=_name)
def test_an_example_configuration_loads(path: Path) -> None:
    assert parse_text(path.read_text("utf-8"), path.name).config.providers


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_compiles_and_imports_what_exists(page: Path) -> None:
    if page == FOLDER / "library.md":  # signatures, not programs
        return
    for block in blocks(page.read_text("utf-8")):
        if block.language != "python":
            continue
        tree = compile(block.text, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert isinstance(tree, ast.Module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "ai_client":
                assert {alias.name for alias in node.names} <= set(ai_client.__all__)


def test_the_units_start_what_exists_and_listen_where_the_page_says() -> None:
    service = (UNITS / "ai-client.service").read_text("utf-8")
    started = re.findall(r"^ExecStart=\S*/ai-client (.*)$", service, re.MULTILINE)
    assert len(started) == 1
    parse(shlex.split(started[0]))
    listening = re.findall(r"^ListenStream=(.*)$", (UNITS / "ai-client.socket").read_text("utf-8"), re.MULTILINE)
    addresses = ", ".join(f"unix:{each}" if each.startswith("/") else each for each in listening)
    page = (ROOT / "docs" / "how-to" / "systemd.md").read_text("utf-8")
    assert f"listen = {addresses}\n" in page
    assert f"listen = {addresses}\n" in (ROOT / "examples" / "ai-client.conf").read_text("utf-8")


def test_headers_and_codes_of_the_http_page_are_those_of_the_code() -> None:
    page = (FOLDER / "http.md").read_text("utf-8")
    sources = [path.read_text("utf-8") for path in sorted((ROOT / "src" / "ai_client").rglob("*.py"))]
    code = "\n".join(sources)
    ours = set(re.findall(r'b"(x-[a-z-]+|retry-after[a-z-]*)"', code))
    assert {header for header in ours if header.startswith("x-ai-client-")} <= set(re.findall(r"`([a-z-]+)[`:]", page))
    assert set(re.findall(r"`(x-ai-client-[a-z-]+|x-upstream-[a-z-]+|x-priority)`", page)) <= ours
    refused = set(re.findall(r'Refusal\(\s*(\d{3}), "(\w+)"', code))
    assert {("431", "header_too_large"), ("503", "overloaded")} <= refused
    assert refused | {("500", "internal")} == set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_metrics_in_the_text_exist(page: Path) -> None:
    known = {each.name for each in vars(catalogue).values() if isinstance(each, catalogue.Family)}
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    known |= {"ai_client_drift", "ai_client_drift_looked"}  # of the report of that playbook
    assert known
    for name in re.findall(r"\bai_client_[a-z_]+[a-z]\b(?!\.)", page.read_text("utf-8")):
        assert name in known or name in variables.options("client"), name


def test_the_checks_find_what_is_wrong() -> None:
    with pytest.raises(click.UsageError, match="no-such"):
        parse(arguments("batch in.jsonl -o out.jsonl --no-such"))
    with pytest.raises(click.UsageError, match="nonsense"):
        parse(arguments("nonsense"))
    with pytest.raises(click.UsageError, match="nonsense"):
        parse(arguments("config nonsense"))
    parse(arguments("--version"))
    parse(arguments("costs --by app | head  # the first"))
    assert list(command_lines("```sh\n.venv/bin/ai-client costs &\n```\n\n    $ ai-client health\n")) == [
        "costs &",
        "health",
    ]
    assert anchors("## A `fresh` answer\n") == {"a-fresh-answer"}
    assert not stands("caching", "ttl")
    assert not stands("cachin", "")
    assert stands("performance", "rate_limit")
