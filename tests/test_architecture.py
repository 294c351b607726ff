"""The house rules that no other tool keeps: sizes, state, clocks, who may import what from outside, words and paths.

Each rule is a function from a file's text to the offences in it. Every rule is tried on a sample that breaks it as well
as on the project, so that a rule which can find nothing is itself found.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

import pytest

import ai_client

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "ai_client"
UNIT = ROOT / "tests" / "unit"

ROOM_LINES = 400
FUNCTION_LINES = 60

OUTSIDE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "click": ("cli/*",),
        "httptools": ("transport/*",),
        "httpx": ("openai_sdk.py",),
        "httpx2": ("openai_sdk.py",),
        "matplotlib": ("cli/*",),
        "msgspec": ("*",),
        "openai": ("openai_sdk.py",),
        "opentelemetry": ("telemetry/*",),
        "prometheus_client": ("telemetry/*",),
        "redis": ("*/backends/*",),
        "rich": ("cli/*",),
        "sqlite3": ("*/backends/*", "batch/store.py"),
        "time": ("clock.py",),
        "uvloop": ("*",),
    }
)
"""Which rooms may import which package from outside. What is neither here nor in the standard library is refused;
of the standard library, only what is named here is confined."""

Rule = Callable[[str, str], Iterator[str]]


def rooms_are_small(_room: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > ROOM_LINES:
        yield f"{lines} lines, at most {ROOM_LINES}: this room wants to be two"


def functions_are_short(_room: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def no_rooms_for_everything(room: str, _text: str) -> Iterator[str]:
    for part in Path(room).with_suffix("").parts:
        if re.fullmatch(r"_?(utils?|commons?|misc|shared|stuff)", part):
            yield f"'{part}' says nothing of what is in it"


def no_global_statements(_room: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Global):
            yield f"line {node.lineno}: global {', '.join(node.names)}"


_MUTABLE = re.compile(
    r"bytearray|Counter|defaultdict|deque|dict|list|OrderedDict|set|Weak\w+|count|Random|ContextVar"
    r"|Condition|Event|Lock|RLock|Queue|Semaphore"
)
_READ_ONLY = frozenset({"AbstractSet", "Collection", "Iterable", "Mapping", "Sequence", "TypeAlias"})


def no_mutable_module_state(_room: str, text: str) -> Iterator[str]:
    """A table is fine where its type forbids writing (`Mapping`, `Sequence`: mypy then keeps it as it is), and where it
    is filled as it stands and declared `Final`. What begins empty is state, whatever it is called.
    """
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or node.value is None:
            continue
        name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        declared = set(_names(node.annotation)) if isinstance(node, ast.AnnAssign) else set()
        constant = declared & _READ_ONLY or ("Final" in declared and _is_filled(node.value)) or name == "__all__"
        if isinstance(node, ast.AugAssign) or (_is_mutable(node.value) and not constant):
            yield f"line {node.lineno}: {name} can change: annotate it as Mapping or Sequence, or let an object own it"


def _is_filled(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return bool(value.keys)
    return bool(value.elts) if isinstance(value, ast.List | ast.Set) else not isinstance(value, ast.Call)


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return any(map(_MUTABLE.fullmatch, _names(value.func)[-1:]))
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _names(node: ast.AST) -> list[str]:
    """The plain names in an expression, in the order in which they are written."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [*_names(node.value), node.attr]
    return [name for child in ast.iter_child_nodes(node) for name in _names(child)]


def imports_from_outside_have_their_rooms(room: str, text: str) -> Iterator[str]:
    for line, module in _imported(ast.parse(text)):
        package = module.split(".")[0]
        if package in OUTSIDE:
            if not any(fnmatch(room, allowed) for allowed in OUTSIDE[package]):
                yield f"line {line}: {package} may be imported in {', '.join(OUTSIDE[package])} only"
        elif package != "ai_client" and package not in sys.stdlib_module_names:
            yield f"line {line}: {package} is not among the project's dependencies"


def only_build_and_backends_name_backends(room: str, text: str) -> Iterator[str]:
    if room in ("build.py", "lasting.py") or "/backends/" in room:
        return
    for line, module in _imported(ast.parse(text)):
        if ".backends" in module:
            yield f"line {line}: {module} is concrete; take the protocol in base.py, let build.py or lasting.py choose"


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of all that a file imports, through `importlib.import_module("…")` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _names(node.func)[-1:] == ["import_module"]:
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield node.lineno, part.value


_GENERATORS = frozenset({"random.Random", "random.SystemRandom"})


def chance_is_injected(_room: str, text: str) -> Iterator[str]:
    tree = ast.parse(text)
    imported = set(_imported(tree))
    drawn = {(line, name) for line, name in imported if name.startswith("random.")}
    if any(name == "random" for _, name in imported):
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        drawn |= {(call.lineno, ast.unparse(call.func)) for call in calls if _names(call.func)[:1] == ["random"]}
    for line, name in sorted(drawn):
        if name not in _GENERATORS:
            yield f"line {line}: {name} draws from a hidden generator; take a random.Random as an argument"


def comments_leave_nothing_open(_room: str, text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        found = re.search(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b", token.string)
        if token.type == tokenize.COMMENT and found:
            yield f"line {token.start[0]}: {found[0]}: finish it"


def nothing_sleeps(_room: str, text: str) -> Iterator[str]:
    """A sleep of zero seconds is no wait: it lets the other tasks run."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("asyncio.sleep", "time.sleep", "sleep")
            and [ast.unparse(argument) for argument in node.args] != ["0"]
        ):
            yield f"line {node.lineno}: a test waits for an event, or moves a clock of its own; it does not sleep"


def no_path_of_a_machine(_room: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(r"(?<![\w.}-])/(?:work|root)/\S*", line):
            yield f"line {number}: {found[0]} is a path of somebody's machine"


HOUSE_RULES: tuple[Rule, ...] = (
    rooms_are_small,
    functions_are_short,
    no_rooms_for_everything,
    no_global_statements,
    no_mutable_module_state,
    imports_from_outside_have_their_rooms,
    only_build_and_backends_name_backends,
    chance_is_injected,
    comments_leave_nothing_open,
)

TEST_RULES: tuple[Rule, ...] = (nothing_sleeps, comments_leave_nothing_open, no_global_statements)
TEXT_RULES: tuple[Rule, ...] = (no_path_of_a_machine,)

SLASH = "/"  # keeps the samples below from being offences themselves

BREAKS: tuple[tuple[Rule, str, str], ...] = (
    (rooms_are_small, "a.py", "pass\n" * (ROOM_LINES + 1)),
    (functions_are_short, "a.py", "async def f():\n" + "    pass\n" * FUNCTION_LINES),
    (no_rooms_for_everything, "cache/utils.py", ""),
    (no_rooms_for_everything, "common/key.py", ""),
    (no_global_statements, "a.py", "def f():\n    global x\n    x = 1\n"),
    (no_mutable_module_state, "a.py", "seen = {}\n"),
    (no_mutable_module_state, "a.py", "seen: dict[str, int] = {}\n"),
    (no_mutable_module_state, "a.py", "seen: Final = []\n"),
    (no_mutable_module_state, "a.py", "waiting = collections.deque()\n"),
    (imports_from_outside_have_their_rooms, "cache/key.py", "import time\n"),
    (imports_from_outside_have_their_rooms, "cache/key.py", "from redis.asyncio import Redis\n"),
    (imports_from_outside_have_their_rooms, "client.py", "def f():\n    import sqlite3\n"),
    (imports_from_outside_have_their_rooms, "client.py", "x = importlib.import_module('httpx')\n"),
    (imports_from_outside_have_their_rooms, "client.py", "import requests\n"),
    (only_build_and_backends_name_backends, "pipeline/cached.py", "from ai_client.cache.backends import memory\n"),
    (chance_is_injected, "a.py", "import random\nx = random.random()\n"),
    (chance_is_injected, "a.py", "from random import uniform\n"),
    (comments_leave_nothing_open, "a.py", "x = 1  # TODO: two\n"),
    (nothing_sleeps, "a.py", "await asyncio.sleep(0.1)\n"),
    (no_path_of_a_machine, "a.md", f"see {SLASH}work{SLASH}a\n"),
    (no_path_of_a_machine, "a.md", f"cd {SLASH}root{SLASH}b\n"),
)

KEEPS: tuple[tuple[Rule, str, str], ...] = (
    (rooms_are_small, "a.py", "pass\n" * ROOM_LINES),
    (no_mutable_module_state, "a.py", "_TABLE: Mapping[str, int] = {'a': 1}\n"),
    (no_mutable_module_state, "a.py", "_TABLE: Final = {'a': 1}\n"),
    (no_mutable_module_state, "a.py", "__all__ = ['a']\n"),
    (imports_from_outside_have_their_rooms, "clock.py", "import time\n"),
    (imports_from_outside_have_their_rooms, "limits/backends/redis.py", "import redis\n"),
    (chance_is_injected, "a.py", "import random\nx = random.Random(7)\n"),
    (chance_is_injected, "a.py", "from random import Random\ndef f(random: Random): random.random()\n"),
    (nothing_sleeps, "a.py", "await asyncio.sleep(0)\n"),
    (no_path_of_a_machine, "a.md", f"https://example.org{SLASH}work{SLASH}a\n"),
)


def _rule_name(value: object) -> str | None:
    return value.__name__ if inspect.isfunction(value) else None


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _own_files() -> list[Path]:
    """Every text file of the project: nothing of tools, environments, and what running it leaves behind."""
    left_out = re.compile(r"\.(?!ci$|gitignore$|editorconfig$).*|__pycache__|build|dist|htmlcov|results|node_modules")
    found: list[Path] = []
    for entry in sorted(ROOT.iterdir()):
        if not left_out.fullmatch(entry.name):
            found += [entry] if entry.is_file() else sorted(entry.rglob("*"))
    inner = (path for path in found if path.is_file())
    return [path for path in inner if not any(map(left_out.fullmatch, path.relative_to(ROOT).parts))]


@pytest.mark.parametrize(("rule", "room", "text"), BREAKS, ids=_rule_name)
def test_a_rule_finds_what_breaks_it(rule: Rule, room: str, text: str) -> None:
    assert list(rule(room, text))


@pytest.mark.parametrize(("rule", "room", "text"), KEEPS, ids=_rule_name)
def test_a_rule_lets_pass_what_keeps_it(rule: Rule, room: str, text: str) -> None:
    assert list(rule(room, text)) == []


def test_no_rule_goes_untried() -> None:
    assert {rule for rule, _, _ in BREAKS} == {*HOUSE_RULES, *TEST_RULES, *TEXT_RULES}


def _offences(path: Path, room: str, rules: tuple[Rule, ...]) -> str:
    text = path.read_text("utf-8", "replace")
    return "\n".join(f"{_relative(path)}: {offence}" for rule in rules for offence in rule(room, text))


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=_relative)
def test_a_room_keeps_the_house_rules(path: Path) -> None:
    offences = _offences(path, path.relative_to(SRC).as_posix(), HOUSE_RULES)
    assert not offences, offences


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=_relative)
def test_a_test_keeps_its_rules(path: Path) -> None:
    offences = _offences(path, _relative(path), TEST_RULES)
    assert not offences, offences


def test_no_file_names_a_machine() -> None:
    files = _own_files()
    assert Path(__file__).resolve() in files
    assert ROOT / "pyproject.toml" in files
    offences = "".join(_offences(path, _relative(path), TEXT_RULES) for path in files)
    assert not offences, offences


@pytest.mark.parametrize("path", sorted(UNIT.rglob("test_*.py")), ids=_relative)
def test_a_unit_test_stands_where_its_unit_stands(path: Path) -> None:
    """tests/unit/cache/test_key.py, or test_key_collisions.py, is about src/ai_client/cache/key.py."""
    folder = SRC / path.parent.relative_to(UNIT)
    name = path.stem.removeprefix("test_")
    units = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    units = (units - {"__init__"}) | {"init"}
    assert any(name == unit or name.startswith(f"{unit}_") for unit in units), f"{_relative(folder)} has no {name}.py"


@pytest.mark.parametrize("name", sorted(ai_client.__all__))
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(ai_client, name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        assert isinstance(value, str), f"{name} is neither a class, nor a function, nor the version"
        return
    undocumented = [member for member, what in _public(name, value) if not _docstring(what)]
    assert undocumented == []


def _public(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The thing itself and, of a class, the public methods and properties that it defines."""
    yield name, value
    if inspect.isclass(value):
        for member, what in vars(value).items():
            if not member.startswith("_") and (inspect.isroutine(what) or isinstance(what, property)):
                yield f"{name}.{member}", what


def _docstring(value: object) -> str:
    """The thing's own docstring: not one that it inherits, nor the signature that dataclasses write."""
    own = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    return "" if own is None or re.match(r"\w+\(.*\)$", own) else own
