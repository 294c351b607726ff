"""One scene, from its start to what was counted."""

from __future__ import annotations

import contextlib
import resource
import time
from collections import Counter
from collections.abc import Callable

from bench.processes import free_port, machine_cpu_seconds
from bench.quota.arrivals import arrivals, possible
from bench.quota.members import Group, begin_all, members
from bench.quota.scene import WARM_SECONDS, Answered, Outcome, Scene
from bench.quota.servers import Redis, Watch, judge, used
from bench.quota.wire import cut_off


def play(scene: Scene, url: str = "") -> Outcome:
    """The judge is the one at `url`, or one of its own. Raises SkippedError, NotReadyError."""
    outcome = Outcome(scene)
    port = free_port()
    steps = arrivals(scene) if scene.trace else None
    if steps is not None:
        outcome.possible = possible(scene, steps)
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(Redis(port))
        url = url or stack.enter_context(judge(scene))
        cut = stack.enter_context(cut_off()) if scene.away == "cut off" else None
        watch = stack.enter_context(Watch(url.replace("0.0.0.0", "127.0.0.1")))
        starting = time.monotonic()
        groups = stack.enter_context(members(scene, url, port, steps))
        outcome.ready_seconds = time.monotonic() - starting
        begin = begin_all(groups)
        busy, outcome.own_seconds = machine_cpu_seconds(), -_own_seconds()
        _until(begin + WARM_SECONDS)
        first = watch.now()
        if scene.away:
            _go_away(outcome, begin, watch, redis.away if cut is None else cut)
        _until(begin + scene.seconds)
        last = watch.now()
        outcome.judged(*used(scene, first, last), last.answered, last.refused, watch.ahead(scene))
        outcome.judge_p99 = watch.took_p99
        outcome.busy_cores = (machine_cpu_seconds() - busy) / scene.seconds
        _gather(outcome, groups)
    outcome.own_seconds += _own_seconds()
    return outcome


def _go_away(outcome: Outcome, begin: float, watch: Watch, away: Callable[[bool], None]) -> None:
    """In the middle of the scene: Redis goes, or the wire to it, and comes back."""
    scene = outcome.scene
    middle = begin + (scene.seconds - scene.away_seconds) / 2
    _until(middle)
    before = watch.now()
    away(True)
    _until(middle + scene.away_seconds)
    outcome.used_while_away = max(used(scene, before, watch.now()))
    away(False)


def _gather(outcome: Outcome, groups: list[Group]) -> None:
    errors: Counter[str] = Counter()
    said = [each for group in groups for each in group.found()]
    for each in said:
        errors.update(each["errors"])
        outcome.sent += each["sent"]
        outcome.trips += each["trips"]
        outcome.own_seconds -= each["start_cpu"]
        outcome.by_member.append(sum(len(answers) for answers in each["answered"].values()))
        for app, answers in each["answered"].items():
            known = outcome.apps.setdefault(app, Answered())
            known.asked += [asked for asked, _ in answers]
            known.took += [took for _, took in answers]
    if lost := outcome.scene.members - len(said):
        errors["member ended early"] = lost
    outcome.errors = dict(errors)
    outcome.lag_p99 = max((each["lag_p99"] for each in said), default=0.0)
    outcome.lag_most = max((each["lag_most"] for each in said), default=0.0)


def _own_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))
