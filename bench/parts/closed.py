"""Closed loop: what a request costs, and how many a second, against nginx and against the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench import load, ours, peers
from bench.contestant import Contestant
from bench.lab import Lab
from bench.load import Load
from bench.nginx import FLOOR, start_proxy
from bench.processes import LOAD_CORE, PROXY_CORE, Neighbours, NotReadyError
from bench.report import Detail, Findings, Row, judge, skipped
from bench.statistics import Spread, spread

_PART = f"closed loop, {load.CONNECTIONS} connections, upstream 0 ms"
_PART_ONE = f"{_PART}, all on one core"
_WARM_SECONDS = 8.0
"""A just-in-time compiler needs some."""
_PEER_RATIOS = {"Portkey gateway": (10.0, 20.0), peers.LITELLM: (200.0, 400.0)}
"""What is to be reached against a peer at like work. One that only passes on is shown for comparison."""


def cpu(lab: Lab) -> Findings:
    """CPU per request of the daemon over that of nginx's proxy_pass, in rounds that take turns.

    Twice: with load and upstream on a core of their own, which is the figure; and with all on one core, where nothing
    is spent on waking another core, nor lost to a hyperthread next door: the steadier figure, for comparing changes.
    """
    found, findings = _over_nginx(lab, LOAD_CORE, rounds=3 if lab.quick else 9)
    ratio = _ratios(found, ours.NAME, FLOOR, "cpu_us")
    findings.rows.append(
        Row(
            "CPU per request over nginx proxy_pass (limits, cost, metrics, audit on; cache off)",
            ratio.text(".2f", "x"),
            "≤ 4.0x",
            "≤ 2.5x",
            judge(ratio.median, 4.0, 2.5, errors=_errors(found)),
            ratio.median,
        )
    )
    found, alone = _over_nginx(lab, PROXY_CORE, rounds=3 if lab.quick else 5)
    findings.add(alone)
    ratio = _ratios(found, ours.NAME, FLOOR, "cpu_us")
    findings.details.append(Detail(_PART_ONE, "CPU per request over nginx", ratio.text(".2f", "x")))
    return findings


def _over_nginx(lab: Lab, core: int, rounds: int) -> tuple[dict[str, list[Load]], Findings]:
    """Daemon and floor in turn, with load and upstream on `core`."""
    wrk, mock = lab.need_wrk(), lab.mock(core=core)
    floor = start_proxy(lab.processes, lab.need_nginx(), f"nginx-proxy-{core}", mock.port)
    daemon = lab.daemon(mock)
    neighbours = Neighbours(lab.processes)
    seconds = {floor.name: 2.0, daemon.name: 3.0}
    found = _rounds(lab, wrk, (floor, daemon), seconds, rounds, core=core)
    part = _PART if core == LOAD_CORE else _PART_ONE
    details = _details(part, (floor, daemon), found)
    details.append(Detail(part, "others on this machine", f"{neighbours.cores():.2f} cores"))
    lab.stop(floor, daemon)
    return found, Findings([], details, {part: _raw(found)})


def against_peers(lab: Lab) -> Findings:
    """Requests a second over those of each peer that can be installed."""
    wrk, mock = lab.need_wrk(), lab.mock()
    findings = Findings()
    contestants = [lab.daemon(mock)]
    for name, starter in peers.STARTERS.items():
        try:
            contestants.append(starter(lab.processes, mock.port))
        except (peers.SkippedError, NotReadyError) as reason:
            findings.rows.append(skipped(f"requests/s over {name}", str(reason)))
    seconds = {ours.NAME: 3.0, peers.LITELLM: 8.0, "Portkey gateway": 5.0, peers.LITELLM_BARE: 6.0}
    found = _rounds(lab, wrk, contestants, seconds, 2 if lab.quick else 7)
    for peer in contestants[1:]:
        ratio = _ratios(found, ours.NAME, peer.name, "requests_per_second")
        what, measured = f"requests/s over {peer.name}", ratio.text(".0f", "x")
        if peer.name not in _PEER_RATIOS:
            findings.rows.append(Row(what, measured, "", "", "for comparison", ratio.median))
            continue
        must, aim = _PEER_RATIOS[peer.name]
        errors = _errors({ours.NAME: found[ours.NAME]})
        verdict = judge(ratio.median, must, aim, at_least=True, errors=errors)
        findings.rows.append(Row(what, measured, f"≥ {must:.0f}x", f"≥ {aim:.0f}x", verdict, ratio.median))
    findings.details += _details("closed loop against the peers", contestants, found)
    findings.raw["peers"] = _raw(found)
    lab.stop(*contestants)
    return findings


def _rounds(
    lab: Lab,
    wrk: str,
    contestants: Sequence[Contestant],
    seconds: Mapping[str, float],
    rounds: int,
    *,
    core: int = LOAD_CORE,
) -> dict[str, list[Load]]:
    """Each contestant once a round, in turn, so that a disturbance of the machine meets them alike."""
    shorten = 0.5 if lab.quick else 1.0
    for contestant in contestants:
        load.run(wrk, lab.folder, contestant, min(_WARM_SECONDS, 2 * seconds[contestant.name]) * shorten, core=core)
        contestant.settle()
    found: dict[str, list[Load]] = {contestant.name: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            result = load.run(wrk, lab.folder, contestant, seconds[contestant.name] * shorten, core=core)
            found[contestant.name].append(result)
            contestant.settle()
    return found


def _ratios(found: Mapping[str, Sequence[Load]], over: str, under: str, field: str) -> Spread:
    pairs = zip(found[over], found[under], strict=True)
    return spread([getattr(ours_, field) / max(getattr(theirs, field), 1e-9) for ours_, theirs in pairs])


def _errors(found: Mapping[str, Sequence[Load]]) -> int:
    return sum(result.errors for results in found.values() for result in results)


def _details(part: str, contestants: Sequence[Contestant], found: Mapping[str, Sequence[Load]]) -> list[Detail]:
    details = []
    for contestant in contestants:
        results = found[contestant.name]
        rate = spread([result.requests_per_second for result in results])
        cost = spread([result.cpu_us for result in results])
        p50, p99 = (spread([getattr(result, name) for result in results]).median for name in ("p50_ms", "p99_ms"))
        memory = contestant.process.memory_mb() if contestant.process else 0.0
        text = f"{rate.text(',.0f', '')} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, "
        text += f"{cost.text(',.1f', '')} us CPU a request, {memory:.0f} MB"
        errors = sum(result.errors for result in results)
        details.append(Detail(part, contestant.name, text + (f", {errors} errors" if errors else "")))
    return details


def _raw(found: Mapping[str, Sequence[Load]]) -> dict[str, list[dict[str, float]]]:
    return {name: [asdict(result) for result in results] for name, results in found.items()}
