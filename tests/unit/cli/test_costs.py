"""`ai-client costs`: sums by every key, exact dollars, and ledgers that are not there."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ai_client.cli.group import cli
from ai_client.clock import SystemClock, local_day
from ai_client.config.load import load
from ai_client.lasting import open_library
from ai_client.model.record import Record
from ai_client.model.usage import Usage

DAY_NS = 86_400_000_000_000


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration with a ledger, still empty."""
    path = tmp_path / "a.conf"
    path.write_text(
        "[api]\nprovider = p\napi_key = hs_k\nmodels = *\n[model_costs]\na = 1\nb = 1\nclaude-sonnet-4.5 = 15\n"
        f"[costs]\nledger = {tmp_path / 'ledger'}\n"
    )
    return path


def book(conf: Path, *records: Record) -> None:
    ledger = open_library(load(conf, {}).config).ledger
    for record in records:
        ledger.count(record)
    ledger.close()


def record(model: str, cost: int, *, age_days: int = 0, tag: str = "", error: str = "") -> Record:
    now = SystemClock().unix_ns() - age_days * DAY_NS
    usage = Usage(1000, 20, 300)
    return Record(
        "r", "/chat", "shop", tag, 5, False, 0, now, model=model, target=f"p/{model}", usage=usage, cost_nano=cost,
        error=error,
    )  # fmt: skip


def show(conf: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["costs", "--config", str(conf), *arguments])


def rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines() if line.strip() and "─" not in line]


def test_a_table_by_model_with_a_total(conf: Path) -> None:
    book(conf, record("a", 1_500_000_000), record("b", 2_000_000_001), record("b", 0, error="x"))
    result = show(conf)
    assert result.exit_code == 0
    assert rows(result)[1:] == [
        ["b", "2", "1", "2,000", "600", "40", "2.000000001"],
        ["a", "1", "0", "1,000", "300", "20", "1.500000000"],
        ["total", "3", "1", "3,000", "900", "60", "3.500000001"],
    ]


def test_what_a_model_without_a_price_cost_is_unknown_and_not_nothing(conf: Path) -> None:
    free = record("c", 0, error="refused")  # it failed, and used nothing
    free.usage = Usage()
    book(conf, record("a", 1_500_000_000), record("c", 0), record("c", 0), free)
    result = show(conf)
    assert [[row[0], row[-1]] for row in rows(result)[1:]] == [["a", "1.50"], ["c", "unknown"], ["total", "1.50+"]]
    assert result.stderr == "unknown, +: there are calls of models without a price; give it in [model_costs]\n"
    told = json.loads(show(conf, "--json").stdout)
    assert [row["unpriced"] for row in (*told["rows"], told["total"])] == [0, 2, 2]
    assert show(conf, "--by", "day").stdout.count("1.50+") == 2


def test_a_usual_terminal_folds_no_name(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    book(conf, *(record("claude-sonnet-4.5", 123_456_789, error="x") for _ in range(1000)))
    assert "claude-sonnet-4.5 " in show(conf).stdout


@pytest.mark.parametrize(("by", "names"), [("app", ["shop"]), ("tag", ["x", "-"]), ("target", ["p/a", "p/b"])])
def test_by_something_else(conf: Path, by: str, names: list[str]) -> None:
    book(conf, record("a", 2, tag="x"), record("b", 1))
    assert [row[0] for row in rows(show(conf, "--by", by))[1:-1]] == names


def test_days_come_in_their_order_and_may_be_bounded(conf: Path) -> None:
    book(conf, record("a", 1), record("a", 2, age_days=3), record("a", 500, age_days=40))
    now = SystemClock().unix_ns()
    days = [local_day(now - age * DAY_NS) for age in (40, 3, 0)]
    assert [row[0] for row in rows(show(conf, "--by", "day"))[1:-1]] == days
    assert [row[0] for row in rows(show(conf, "--by", "day", "--since", days[1]))[1:-1]] == days[1:]
    assert [row[0] for row in rows(show(conf, "--by", "day", "--until", "yesterday"))[1:-1]] == days[:2]
    assert [row[0] for row in rows(show(conf, "--by", "day", "--since", "today"))[1:-1]] == days[2:]


def test_json_has_every_digit(conf: Path) -> None:
    book(conf, record("a", 12_345_678_901_234_567))
    result = show(conf, "--json")
    told = json.loads(result.stdout, parse_float=Decimal)
    assert told["rows"][0]["cost_usd"] == told["total"]["cost_usd"] == Decimal("12345678.901234567")
    assert told["rows"][0]["model"] == "a"
    assert told["total"]["cost_nano"] == 12_345_678_901_234_567
    assert "name" not in told["total"]
    assert (told["since"], told["until"]) == (None, None)
    told = json.loads(show(conf, "--json", "--since", "2020-01-01", "--until", "2020-01-31").stdout)
    assert (told["since"], told["until"]) == ("2020-01-01", "2020-01-31")


def test_nothing_booked_is_said_and_no_ledger_is_made(conf: Path, tmp_path: Path) -> None:
    result = show(conf, "--since", "2020-01-01", "--until", "2020-01-31")
    assert (result.exit_code, "since 2020-01-01 until 2020-01-31" in result.stdout) == (0, True)
    assert not (tmp_path / "ledger").exists()
    assert json.loads(show(conf, "--json").stdout)["rows"] == []


def test_no_ledger_configured(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[api]\nprovider = p\napi_key = hs_k\n")
    result = show(path)
    assert (result.exit_code, "set `ledger = " in result.stderr) == (1, True)


@pytest.mark.parametrize("days", [("--since", "2020-1"), ("--since", "2020-02-02", "--until", "2020-02-01")])
def test_days_that_are_none(conf: Path, days: tuple[str, ...]) -> None:
    assert show(conf, *days).exit_code == 2


def test_a_ledger_that_cannot_be_read(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("this is no database, and long enough that nobody takes it for an empty one" * 20)
    result = show(conf)
    assert result.exit_code == 2
    assert "ledger" in result.stderr
    conf.write_text(conf.read_text().replace(str(tmp_path / "ledger"), str(tmp_path / ("x" * 300))))
    result = show(conf)
    assert (result.exit_code, "cannot be read" in result.stderr) == (1, True)
