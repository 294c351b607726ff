"""The fault matrix itself, all but the minutes that a batch waits; and the judge, which has to find what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from ai_client.transport.dial import dial
from faults.__main__ import groups, run, waits
from faults.dials import read, watching
from faults.faces import HANG_SECONDS, Outcome
from faults.matrix import FACES, FAULTS, Cell, matrix
from faults.network import BrokenNetwork
from faults.verdict import CLEAN, RESCUED, Verdict, judge, most_within, table
from faults.wire import PREFILL_REFUSED, REASON, answer_text
from tests.wire import until

CELLS = matrix()


def cell_of(
    fault: str, where: str = "everywhere", face: str = "library", *, stream: bool = False, mode: str = "plain"
) -> Cell:
    """The one cell."""
    (cell,) = (
        one
        for one in CELLS
        if (one.fault.name, one.where, one.face, one.stream, one.mode) == (fault, where, face, stream, mode)
    )
    return cell


def test_every_cell_is_rescued_or_fails_cleanly(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        verdicts = runner.run(run([cell for cell in CELLS if not waits(cell)], tmp_path))
    assert not [verdict.plain() for verdict in verdicts if not verdict.passed]
    assert {verdict.result for verdict in verdicts} == {RESCUED, CLEAN}


def test_the_matrix_is_whole() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    assert {cell.face for cell in CELLS} == set(FACES)
    for fault in FAULTS:
        mine = [cell for cell in CELLS if cell.fault is fault]
        assert {cell.where for cell in mine} >= {"everywhere"}
        assert ("middle" in {cell.where for cell in mine}) == fault.middle
        assert {cell.stream for cell in mine} == ({True} if fault.streams_only else {False, True})
        assert fault.statuses or fault.blame == "nobody"
    counted = Counter(cell.name for group in groups(CELLS) for cell in group)
    assert counted == Counter(cell.name for cell in CELLS)


@pytest.mark.parametrize(
    ("cell", "due"),
    [
        (cell_of("500", "once"), True),
        (cell_of("500", "target"), True),
        (cell_of("500"), False),
        (cell_of("401", "once"), False),
        (cell_of("context length", "target"), True),
        (cell_of("reset", "target", stream=True), True),
        (cell_of("reset", "middle", stream=True), False),
        (cell_of("reset", "middle", stream=True, mode="whole"), True),
        (cell_of("no [DONE]", "middle", stream=True, mode="whole"), True),
        (cell_of("reset", "middle", stream=True, mode="continued"), True),
        (cell_of("no [DONE]", "middle", stream=True, mode="continued"), False),
        (cell_of("reset", "middle", stream=True, mode="refused"), False),
        (cell_of("slow drip"), True),
    ],
)
def test_the_rule(cell: Cell, due: bool) -> None:
    assert cell.rescue_due is due


WHOLE = Outcome(text=answer_text(cell_of("500").name), whole=True)
REFUSED_CELL = cell_of("reset", "middle", stream=True, mode="refused")
REFUSED = Outcome(status=500, error=f"it answered 500: {REASON}")


@pytest.mark.parametrize(
    ("cell", "outcome", "times", "result"),
    [
        (cell_of("500"), WHOLE, [1.0], RESCUED),
        (cell_of("500"), REFUSED, [1.0, 1.5], CLEAN),
        (cell_of("500", "target"), REFUSED, [1.0], "NOT RESCUED (500)"),
        (cell_of("500"), Outcome(hung=True), [], "HANG"),
        (cell_of("500"), Outcome(status=500, error=REASON, seconds=HANG_SECONDS), [], "HANG"),
        (cell_of("500"), Outcome(answers=0), [], "0 ANSWERS"),
        (cell_of("500"), Outcome(text=WHOLE.text, whole=True, answers=2), [], "2 ANSWERS"),
        (cell_of("500"), REFUSED, [0.0, 0.5, 1.0, 1.5, 2.9], "HAMMERED primary: 5 in 3 s"),
        (cell_of("500"), REFUSED, [0.0, 0.5, 1.0, 1.5, 3.0], CLEAN),
        (cell_of("refused"), Outcome(status=502, error="refused"), [0.0, 0.1, 0.2, 0.3], CLEAN),
        (
            cell_of("refused"),
            Outcome(status=502, error="refused"),
            [0.0, 0.1, 0.2, 0.3, 0.4],
            "HAMMERED primary: 5 in 3 s",
        ),
        (cell_of("refused"), Outcome(status=502, error="refused"), [], "NO TRY SEEN"),
        (cell_of("500"), Outcome(text="The answer", whole=True), [], "TRUNCATED SUCCESS"),
        (cell_of("500"), Outcome(text="Another", whole=True), [], "WRONG ANSWER"),
        (cell_of("500"), Outcome(text="Another", error=REASON), [], "WRONG ANSWER"),
        (cell_of("500"), Outcome(status=500), [], "ERROR WITHOUT A WORD"),
        (cell_of("500"), Outcome(status=502, error=REASON), [], "WRONG STATUS 502"),
        (cell_of("500"), Outcome(status=500, error="it failed"), [], "REASON LOST"),
        (cell_of("500", face="batch"), Outcome(error=REASON), [], CLEAN),
        (cell_of("401"), Outcome(status=401, error=REASON), [1.0, 2.0], "TRIED AGAIN IN VAIN"),
        (cell_of("reset", "middle", stream=True), Outcome(text="The", status=200, error="it broke"), [], CLEAN),
        (
            REFUSED_CELL,
            Outcome(text="The", error=f"it broke: {PREFILL_REFUSED}"),
            [],
            "ANOTHER ERROR THAN THE REAL ONE",
        ),
        (REFUSED_CELL, Outcome(text="The", error="it broke"), [], "NOT TAKEN UP"),
    ],
)
def test_the_judge(cell: Cell, outcome: Outcome, times: list[float], result: str) -> None:
    assert judge(cell, outcome, {"primary": times, "spare": []}).result == result


def test_a_dial_is_seen_whether_a_listener_sees_it_or_not(tmp_path: Path) -> None:
    dials = tmp_path / "dials"
    cells = [cell_of(fault) for fault in ("refused", "not TLS", "no such host")]

    async def scene() -> list[list[float]]:
        async with BrokenNetwork(cells) as network:
            for url in map(urlsplit, network.urls.values()):
                for _ in range(2):
                    with contextlib.suppress(OSError):
                        (await dial(asyncio.get_running_loop(), url.hostname or "", url.port or 80)).close()
            found = read(dials)
            await until(lambda: len(network.tries(cells[1], found)) == 2)
            seen = [network.tries(cell, found) for cell in cells]
            assert len(found[str(urlsplit(network.urls[cells[1].name]).port)]) == len(seen[1]), "as the listener has it"
            return seen

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, watching(dials):
        assert [len(times) for times in runner.run(scene())] == [2, 2, 2]
    assert not {"getaddrinfo", "sock_connect"} & set(vars(uvloop.Loop))


def test_tries_within_a_stretch() -> None:
    assert most_within([], 3) == 0
    assert most_within([5.0, 0.0, 2.0, 4.9], 3) == 2


def test_the_table_counts_and_tells_what_is_wrong() -> None:
    verdicts = [
        Verdict(cell_of("500"), REFUSED, {"primary": 2}, CLEAN),
        Verdict(cell_of("500", "target"), REFUSED, {"primary": 2}, "NOT RESCUED (500)"),
        Verdict(cell_of("500", "once", "daemon"), WHOLE, {"primary": 2}, RESCUED),
    ]
    text = table(verdicts)
    assert "500                   0 + 1, 1 WRONG  1 + 0           –" in text
    assert "NOT RESCUED (500): 500, target, whole, library" in text
    assert text.endswith("2 of 3 cells as they should be: 1 rescued, 1 clean errors")
