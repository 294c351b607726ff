"""Wherever a run is cut off, the next one knows exactly what was answered."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from ai_client.batch.job import Defaults, Survey
from ai_client.batch.store import Answered, Store
from ai_client.model.usage import Usage

LINES = 30
JOB = Survey(LINES, 1, "b" * 64).fingerprint(Defaults())


def answer(line: int, text: str) -> Answered:
    body = json.dumps({"text": text, "usage": {"prompt_tokens": line, "completion_tokens": 1}}).encode()
    return Answered(line, text, 200, "r", body, "m", "p/m", 1, "", line * 7, line * 1_000_000, Usage(line, 1))


def resume(folder: Path) -> tuple[Store, dict[int, Answered]]:
    found: dict[int, Answered] = {}
    store = Store(folder / "out", folder / "err", JOB, LINES)
    store.resume(lambda each: found.update({each.line: each}), retry_errors=False)
    return store, found


@given(
    order=st.permutations(range(1, LINES + 1)),
    share=st.floats(0, 1),
    text=st.text(),
)
def test_a_file_cut_anywhere_is_resumed_without_loss_or_repetition(order: list[int], share: float, text: str) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        store, _ = resume(folder)
        for line in order:
            store.answer(answer(line, text))
        store.close()

        whole = (folder / "out").read_bytes()
        cut = whole[: int(len(whole) * share)]
        (folder / "out").write_bytes(cut)

        store, found = resume(folder)
        kept = order[: cut.count(b"\n")]
        assert list(found) == kept
        assert all(each.cost_nano == line * 7 and each.usage == Usage(line, 1) for line, each in found.items())
        assert [line for line in range(1, LINES + 1) if line in store] == sorted(kept)
        for line in order[len(kept) :]:
            store.answer(answer(line, text))
        store.close()
        assert (folder / "out").read_bytes() == whole
