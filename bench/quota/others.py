"""The same work, done by peers: 429s and use of the limit, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from bench.peers import SkippedError
from bench.quota import cookbook, litellm
from bench.quota.play import play
from bench.quota.scene import Outcome, Scene
from bench.report import MET_MUST, MISSED, Detail, Findings, Row, skipped

_NO_WORSE = 0.01
"""Of the limit: nearer than two runs of one contestant are to each other."""
_LENIENT_SECONDS = 60.0
_FEW = 5
"""One member in so many has work, where work is not spread evenly."""


@dataclass(frozen=True)
class Peer:
    """Who does the work, what of it, and with which of our runs it is compared."""

    name: str
    scene: Scene
    play: Callable[[Scene], Outcome]
    ours: str = "even"


def compare(members: int, seconds: float) -> Findings:
    """Everything at the seeds' limit: what two replicas of LiteLLM on two cores can carry."""
    even = Scene(500, 100_000, 3.0, members, seconds)
    few = dataclasses.replace(even, with_work=max(1, members // _FEW))
    scenes = {"even": even, "few": few}
    ours: dict[str, Outcome] = {}
    found = Findings()
    for peer in _peers(even, few):
        what = f"{peer.name}, demand 3× of {even.rpm:,} rpm / {even.tpm:,} tpm"
        try:
            theirs = peer.play(peer.scene)
        except SkippedError as reason:
            found.rows.append(skipped(what, str(reason)))
            continue
        if peer.ours not in ours:
            ours[peer.ours] = play(scenes[peer.ours])
            found.details.append(_detail(f"ours, work {peer.ours}", ours[peer.ours]))
        found.rows.append(_row(what, theirs, ours[peer.ours]))
        found.details.append(_detail(peer.name, theirs))
    return found


def _peers(even: Scene, few: Scene) -> list[Peer]:
    members = even.members
    lenient = dataclasses.replace(even, burst_seconds=_LENIENT_SECONDS)
    copies = f"{members} copies of openai-cookbook's parallel processor"
    proxy = f"LiteLLM proxy, {litellm.REPLICAS} replicas on one Redis, {members} callers"

    def parted(scene: Scene) -> Outcome:
        return cookbook.play(scene, members)

    return [
        Peer(f"{copies}, each given the limit", even, lambda scene: cookbook.play(scene, 1)),
        Peer(f"{copies}, each given 1/{members} of the limit", even, parted),
        Peer(f"the same, and {few.workers} of them have all the work", few, parted, "few"),
        Peer(proxy, even, litellm.play),
        Peer(f"{proxy}, and a judge that lets {_LENIENT_SECONDS:.0f} s through at once", lenient, litellm.play),
    ]


def _row(what: str, theirs: Outcome, ours: Outcome) -> Row:
    ahead = ours.provider_429 <= theirs.provider_429 and ours.used >= theirs.used - _NO_WORSE
    measured = f"{_side(theirs)}; ours: {_side(ours)}"
    must = "ours has no more 429s, uses no less"
    return Row(what, measured, must, "", MET_MUST if ahead else MISSED, theirs.used)


def _side(outcome: Outcome) -> str:
    return f"{outcome.provider_429:,} 429s ({outcome.refused:.1%} of calls), used {outcome.used:.1%}"


def _detail(who: str, outcome: Outcome) -> Detail:
    said = f"{outcome.ahead:.1f} s of the rate ahead at most; errors at the callers: {outcome.errors_text}"
    return Detail("peers", who, said)
