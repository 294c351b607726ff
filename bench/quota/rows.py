"""The scenes by name, and the rows of the table that each yields."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.quota import hot, large, others
from bench.quota.play import play
from bench.quota.scene import BOUND_SECONDS, WARM_SECONDS, Answered, Outcome, Scene
from bench.report import MET_MUST, MISSED, Detail, Findings, Row, judge
from bench.statistics import percentile

_MOST_429 = 0.001
_AWAY_SECONDS = 60.0


def asked_seconds(at_most: float = 300.0) -> float:
    """How long a scene lasts: QUOTA_SECONDS, 300 if nothing is said."""
    return min(at_most, max(2 * WARM_SECONDS, float(os.environ.get("QUOTA_SECONDS", "300"))))


def asked_members() -> int:
    """QUOTA_MEMBERS, 50 if nothing is said."""
    return int(os.environ.get("QUOTA_MEMBERS", "50"))


def busy() -> Findings:
    """The fleet's usual hard day."""
    outcome = play(Scene(3000, 600_000, 3.0, asked_members(), asked_seconds()))
    name = _limit(outcome.scene)
    found = Findings([*_429_and_use(name, outcome, 0.97), _jain(name, outcome)])
    return _behind(found, "busy", outcome)


def seeds() -> Findings:
    """Less than ten calls a second for fifty members."""
    outcome = play(Scene(500, 100_000, 3.0, asked_members(), asked_seconds()))
    name = _limit(outcome.scene)
    return _behind(Findings([*_429_and_use(name, outcome, 0.95), _jain(name, outcome)]), "seeds", outcome)


def trace() -> Findings:
    """Bursts as they were."""
    scene = Scene(3000, 600_000, 2.0, asked_members(), asked_seconds(), trace=True, patience=60.0)
    outcome = play(scene)
    rows = _429_and_use("Azure's code trace, demand 2× the limit", outcome, 0.97)
    return _behind(Findings(rows), "trace", outcome)


def fairness() -> Findings:
    """A light app, alone for half the time and beside a heavy one for the other half."""
    return _beside(3000, 600_000, "fairness")


def fairness_seeds() -> Findings:
    """The same with so little quota that a member's part is a call in six seconds."""
    return _beside(500, 100_000, "fairness-seeds")


def _beside(rpm: int, tpm: int, part: str) -> Findings:
    share = rpm / 60 / 2
    scene = Scene(rpm, tpm, 3.0, asked_members(), asked_seconds(), light=share / 2)
    outcome = play(scene)
    light, half = outcome.apps.get("light", Answered()), scene.seconds / 2
    alone, beside = _done(light, WARM_SECONDS, half), _done(light, half + WARM_SECONDS, scene.seconds)
    slower = alone / max(beside, 1e-9) - 1
    quiet, loud = _took(light, WARM_SECONDS, half), _took(light, half + WARM_SECONDS, scene.seconds)
    longer = percentile(loud, 50) / max(percentile(quiet, 50), 1e-9) - 1
    what = f"a light app (half of its fair share of {rpm:,} rpm) beside a heavy one (3×)"
    done = f"{slower:+.1%}: {alone:.2f} calls/s alone, {beside:.2f} beside it"
    took = f"{longer:+.1%} (p50): " + ", ".join(
        f"p{level} {percentile(quiet, level):.2f} s, then {percentile(loud, level):.2f} s" for level in (50, 90, 99)
    )
    rows = [
        Row(f"{what}: its work gets done slower by", done, "≤ 10 %", "", judge(slower, 0.10, None), slower),
        Row(f"{what}: an answer takes longer by", took, "≤ 10 %", "", judge(longer, 0.10, None), longer),
        _never(what, outcome),
    ]
    return _behind(Findings(rows), part, outcome)


def killed() -> Findings:
    """Redis, killed and started again with nothing."""
    outcome = play(_away("killed"))
    seconds = outcome.scene.away_seconds
    name = f"Redis killed for {seconds:.0f} s, started again empty"
    used = outcome.used_while_away
    row = Row(f"{name}: used meanwhile", f"{used:.1%}", "≥ 80 %", "", judge(used, 0.80, None, at_least=True), used)
    return _behind(Findings([_never(name, outcome), row]), "killed", outcome)


def cut() -> Findings:
    """Half of the members, without Redis and without the others."""
    outcome = play(_away("cut off"))
    name = f"half of the members cut off for {outcome.scene.away_seconds:.0f} s"
    return _behind(Findings([_never(name, outcome)]), "cut", outcome)


def admission() -> Findings:
    """One member that has all it needs."""
    found = hot.measure(asked_seconds(20.0))
    p99 = found.at(0.99)
    said = f"{p99:.1f} us (p50 {found.at(0.5):.1f}; {len(found.took_us):,} calls, {found.waited} found none in hand)"
    trips = f"{found.trips:.4f}"
    return Findings(
        [
            Row("admission from a local lease, p99", said, "≤ 50 us", "", judge(p99, 50, None), p99),
            Row(
                "Redis round trips a request, at 1,000 requests/s",
                trips,
                "≤ 0.05",
                "",
                judge(found.trips, 0.05, None),
                found.trips,
            ),
        ]
    )


def many() -> Findings:
    """A fleet that no machine here could hold, each member short of quota all the time; in simulated time."""
    course = large.Course(large.MEMBERS, 1.0, 600)
    load = large.simulate(course)
    most = load.most(course.steady, course.away - 1)
    start, back = load.most(0, course.steady - 1), load.most(course.back, course.end - 1)
    measured = (
        f"{most:,} in any second ({load.a_second(course.steady, course.away):,.0f}/s on average);"
        f" as all start at one moment {start:,}, as the store comes back empty {back:,}"
    )
    what = f"{course.members:,} members (simulated) that are all short, one store: its operations a second"
    return Findings([Row(what, measured, "≤ 20,000 at work", "", judge(most, 20_000, None), float(most))])


SCENES: Mapping[str, Callable[[], Findings]] = MappingProxyType(
    {
        "busy": busy,
        "seeds": seeds,
        "trace": trace,
        "fairness": fairness,
        "fairness-seeds": fairness_seeds,
        "killed": killed,
        "cut": cut,
        "hot": admission,
        "large": many,
        "peers": lambda: others.compare(asked_members(), asked_seconds(120.0)),
    }
)


def _away(how: str) -> Scene:
    seconds = asked_seconds()
    away = min(_AWAY_SECONDS, seconds / 2)
    return Scene(3000, 600_000, 3.0, asked_members(), seconds, how, away)


def _limit(scene: Scene) -> str:
    return f"{scene.members} members, demand {scene.demand:g}× of {scene.rpm:,} rpm / {scene.tpm:,} tpm"


def _429_and_use(name: str, outcome: Outcome, least: float) -> list[Row]:
    refused = outcome.refused
    said = f"{outcome.provider_429} of {outcome.reached:,} ({refused:.2%})"
    used, what = outcome.used, f"{name}: share used after the first {WARM_SECONDS:.0f} s"
    measured = f"{used:.1%} (requests {outcome.requests_used:.1%}, tokens {outcome.tokens_used:.1%})"
    if outcome.possible < 1:
        measured += f"; the arrivals let one process with one line use {outcome.possible:.1%}"
    return [
        Row(f"{name}: provider's 429s", said, "≤ 0.1 %", "", judge(refused, _MOST_429, None), refused),
        Row(what, measured, f"≥ {least:.0%}", "", judge(used, least, None, at_least=True), used),
    ]


def _jain(name: str, outcome: Outcome) -> Row:
    return Row(
        f"{name}: Jain's index",
        f"{outcome.jain:.4f}",
        "≥ 0.98",
        "",
        judge(outcome.jain, 0.98, None, at_least=True),
        outcome.jain,
    )


def _never(name: str, outcome: Outcome) -> Row:
    """Over the limit: by a 429, or by more ahead of the rate than the published bound."""
    measured = f"{outcome.provider_429} 429s; {outcome.ahead:.2f} s of the rate ahead at most"
    within = outcome.provider_429 == 0 and outcome.ahead <= BOUND_SECONDS
    must = f"no 429, ≤ {BOUND_SECONDS:g} s (the published bound)"
    return Row(f"{name}: over the limit", measured, must, "", MET_MUST if within else MISSED, outcome.ahead)


def _done(app: Answered, since: float, until: float) -> float:
    """Calls a second that were answered between two moments."""
    ends = [asked + took for asked, took in zip(app.asked, app.took, strict=True)]
    return sum(since <= end < until for end in ends) / max(until - since, 1e-9)


def _took(app: Answered, since: float, until: float) -> list[float]:
    return [took for asked, took in zip(app.asked, app.took, strict=True) if since <= asked < until]


def _behind(found: Findings, part: str, outcome: Outcome) -> Findings:
    """What a reader needs to believe a figure: was it the fleet, or the machine that it ran on?"""
    trips = outcome.trips / outcome.scene.members / outcome.scene.seconds
    found.details += [
        Detail(
            part,
            "calls",
            f"{outcome.sent:,} asked, {outcome.answered:,} answered, {outcome.reached:,} reached the provider",
        ),
        Detail(part, "errors at the members", outcome.errors_text),
        Detail(part, "ahead of the rate, at most", f"{outcome.ahead:.2f} s"),
        Detail(part, "questions to Redis a second and member", f"{trips:.1f}"),
        Detail(part, "judge's answer, p99", f"{outcome.judge_p99 * 1000:.0f} ms"),
        Detail(
            part,
            "lateness of the worst member's event loop",
            f"p99 {outcome.lag_p99 * 1000:.0f} ms, most {outcome.lag_most * 1000:.0f} ms",
        ),
        Detail(part, "cores busy, of which with other work", f"{outcome.busy_cores:.2f}, {outcome.others_cores:.2f}"),
        Detail(part, "members ready after", f"{outcome.ready_seconds:.1f} s"),
    ]
    found.raw[part] = {
        "seconds": outcome.scene.seconds,
        "by member": outcome.by_member,
        "errors": outcome.errors,
        "requests used": outcome.requests_used,
        "tokens used": outcome.tokens_used,
        "ahead": outcome.ahead,
    }
    return found
