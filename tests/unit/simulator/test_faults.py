"""Faults: read from their specifications, striking when they should."""

from __future__ import annotations

import math
import re

import pytest

from ai_client.errors import ConfigurationError
from ai_client.simulator.chance import Chance
from ai_client.simulator.faults import KINDS, OPTIONS, FaultBook, parse, parse_all

SECOND = 1_000_000_000
CHAT = "/v1/chat/completions"


class Asking:
    """A book of faults, asked at given seconds."""

    def __init__(self, *specs: str, seed: int = 1) -> None:
        self.book = FaultBook(specs, Chance(seed), 0)

    def __call__(
        self, second: float = 0, body: bytes = b"{}", model: str = "m", path: str = CHAT, *, stream: bool = False
    ) -> str | None:
        fault = self.book.strike(path, model, body, round(second * SECOND), stream=stream)
        return fault.name if fault else None


def test_a_specification_is_read_whole() -> None:
    fault = parse("status:503@p=0.5,every=3,from=1.5,to=8,times=2,model=gpt-4.1,path=/embeddings,retry-after=2")
    assert (fault.name, fault.argument, fault.probability, fault.every) == ("status", "503", 0.5, 3)
    assert (fault.begin, fault.end, fault.times, fault.model, fault.path) == (1.5, 8, 2, "gpt-4.1", "/embeddings")
    assert fault.retry_after == 2
    assert parse("stall-mid@after=3,for=0.5").lasts == 0.5
    assert parse("stall").lasts == math.inf


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_can_be_named_bare_and_has_a_meaning(kind: object) -> None:
    name: str = getattr(kind, "name")  # noqa: B009
    assert parse(name).name == name
    assert getattr(kind, "meaning")  # noqa: B009


def test_arguments_have_defaults() -> None:
    assert [parse(name).argument for name in ("status", "cut", "html", "length", "drip", "reset")] == [
        "500",
        "reset",
        "502",
        "more",
        "20",
        "",
    ]
    assert parse("drip:5").argument == "5"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rest", "no fault is called 'rest'; did you mean reset?"),
        ("zzz", "no fault is called 'zzz'; known: status, "),
        ("", "no fault is called ''"),
        ("reset:now", "reset takes nothing after a colon"),
        ("status:418", "status:418: choose one of 500, 400"),
        ("cut:", "cut:: choose one of reset, fin, close"),
        ("drip:fast", "expected a number"),
        ("reset@q=1", "no option is called 'q'"),
        ("reset@evry=1", "did you mean every?"),
        ("reset@p", "p needs a value"),
        ("reset@p=", "p needs a value"),
        ("reset@p=2", "p=2: expected a number from 0 to 1"),
        ("reset@p=nan", "p=nan: expected a number from 0 to 1"),
        ("reset@at=inf", "at=inf: expected a number from 0"),
        ("reset@every=0", "every=0: expected a whole number from 1"),
        ("reset@every=1.5", "every=1.5: expected a whole number from 1"),
        ("reset@after=-1", "after=-1: expected a whole number from 0"),
        ("reset@from=5,to=5", "to must be later than from"),
    ],
)
def test_what_makes_no_sense_is_said_so(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(spec)


def test_all_bad_specifications_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_all(["rest", "reset", "cut:off"])
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["fault 'rest'", "fault 'cut"]


def test_no_faults_nothing_happens() -> None:
    assert Asking()() is None


def test_always_unless_told_otherwise() -> None:
    ask = Asking("reset")
    assert [ask(), ask()] == ["reset", "reset"]
    assert ask.book.counts == {"reset": 2}


def test_every_nth_that_matches() -> None:
    ask = Asking("reset@every=3,model=a")
    assert [ask(model="a") for _ in range(7)] == [None, None, "reset", None, None, "reset", None]
    assert [ask(model="b") for _ in range(3)] == [None] * 3


def test_a_window_of_time() -> None:
    ask = Asking("reset@from=5,to=8")
    assert [ask(second) for second in (0, 4.999, 5, 7.999, 8)] == [None, None, "reset", "reset", None]


def test_once_at_a_second() -> None:
    ask = Asking("reset@at=5")
    assert [ask(second) for second in (0, 4, 6, 7)] == [None, None, "reset", None]


def test_at_most_so_often() -> None:
    ask = Asking("reset@times=2")
    assert [ask() for _ in range(4)] == ["reset", "reset", None, None]


def test_paths_and_streams() -> None:
    ask = Asking("status@path=/embeddings", "no-done")
    assert ask(path="/v1/embeddings") == "status"
    assert ask() is None
    assert ask(stream=True) == "no-done"


def test_the_first_that_strikes_is_the_one() -> None:
    ask = Asking("status:503@times=1", "reset")
    assert [ask(), ask()] == ["status", "reset"]


def test_probability_is_drawn_from_the_body_and_how_often_it_came() -> None:
    bodies = [str(number).encode() for number in range(2_000)]
    one, other = Asking("reset@p=0.3"), Asking("reset@p=0.3")
    struck = {body for body in bodies if one(body=body)}
    assert len(struck) / len(bodies) == pytest.approx(0.3, abs=0.03)
    assert {body for body in reversed(bodies) if other(body=body)} == struck  # the order does not matter
    again = {body for body in bodies if one(body=body)}
    assert again != struck  # a second try has a chance of its own
    assert len(again & struck) / len(struck) == pytest.approx(0.3, abs=0.06)
    assert {body for body in bodies if Asking("reset@p=0.3", seed=2)(body=body)} != struck


def test_two_faults_are_drawn_apart() -> None:
    ask = Asking("reset@p=0.5", "empty@p=0.5")
    names = [ask(body=str(number).encode()) for number in range(1_000)]
    assert names.count("reset") == pytest.approx(500, abs=60)
    assert names.count("empty") == pytest.approx(250, abs=50)


def test_a_change_starts_the_clock_anew_and_a_bad_one_changes_nothing() -> None:
    ask = Asking("reset@at=5")
    with pytest.raises(ConfigurationError):
        ask.book.replace(["nonsense"], 10 * SECOND)
    assert ask(10) == "reset"
    ask.book.replace(["empty@at=5"], 10 * SECOND)
    assert [ask(14), ask(15)] == [None, "empty"]
    assert ask.book.counts == {"reset": 1, "empty": 1}
    ask.book.reset(20 * SECOND)
    assert [ask(24), ask(25)] == [None, "empty"]
    assert ask.book.counts == {"empty": 1}


def test_every_option_has_a_reader() -> None:
    for name in OPTIONS:
        value = "m" if name in {"model", "path"} else "1"
        assert parse(f"reset@{name}={value}").name == "reset"
