"""A new key while every node is asked, and a benchmark through all nodes at once."""

from __future__ import annotations

import json

from bench.fleet.fleet import KEY, NEXT_KEY
from bench.fleet.stages import DEPLOY, Run, failed, last
from bench.fleet.traffic import traffic

_USED = "cat /run/credentials/ai-client.service/ai-client-api-key"
_BACK = f"echo {KEY} > /etc/ai-client/credentials/ai-client-api-key && systemctl restart ai-client"
_ROTATE = "ai_client.fleet.rotate_key"


def rotate(run: Run) -> None:
    """The second key everywhere; then the first one again, by a deploy."""
    with traffic(run.fleet, run.rate) as met:
        play = run.fleet.play(_ROTATE, run.first)
    used = set(run.fleet.on_all(_USED).values())
    failed(run, "rotation under load", play, met, sound=play.sound and used == {NEXT_KEY})
    _keep_the_old_one(run)
    with traffic(run.fleet, run.rate) as met:
        play = run.fleet.play(DEPLOY, run.first)
    used = set(run.fleet.on_all(_USED).values())
    failed(run, "and back, by a deploy", play, met, sound=play.sound and used == {KEY})


def _keep_the_old_one(run: Run) -> None:
    """The old key is revoked neither while a node uses it, nor while one cannot be asked; then it is."""
    revoked = run.fleet.folder / "revoked"
    more = ["-e", json.dumps({"ai_key_revoke_command": f"touch {revoked}"})]
    node = run.fleet.names[-1]
    kept: list[str] = []
    for what, begin, end in (
        ("uses it", _BACK, "true"),
        # those that are connected stay so: the end of it comes the same way
        ("cannot be asked", "chmod a-x /usr/bin/python3.*", "chmod a+x /usr/bin/python3.*"),
    ):
        run.fleet.on(node, begin)
        play = run.fleet.play(_ROTATE, run.first, [*more, "--start-at-task", "Ask"])
        run.fleet.on(node, end)
        if not play.sound and node in play.output and not revoked.exists():
            kept.append(what)
    play = run.fleet.play(_ROTATE, run.first, more)
    gone = play.sound and revoked.exists() and set(run.fleet.on_all(_USED).values()) == {NEXT_KEY}
    figure = (
        f"kept while a node {' or '.join(kept) or '(never)'}; {'then revoked' if gone else f'not revoked{last(play)}'}"
    )
    run.say("the old key", figure, "kept in both cases, then revoked", met=len(kept) == 2 and gone)


def benchmark(run: Run) -> None:
    """Load through all nodes: the figures come together, and a target that is missed fails the playbook."""
    report = run.fleet.folder / "bench.json"
    words = [
        "-e",
        "ai_bench_rate=5",
        "-e",
        "ai_bench_duration=5",
        "-e",
        "ai_bench_prompts=5",
        "-e",
        f"ai_bench_json={report}",
    ]
    play = run.fleet.play("ai_client.fleet.benchmark", run.first, [*words, "-e", "ai_bench_target_hit_rate=0.5"])
    told = json.loads(report.read_bytes()) if report.exists() else {}
    strict = run.fleet.play("ai_client.fleet.benchmark", run.first, [*words, "-e", "ai_bench_target_p99_ms=0.001"])
    nodes, asked, hits = told.get("nodes", 0), told.get("requests", 0), told.get("hit_rate", 0)
    figure = f"{play.seconds:.1f} s, {asked} requests through {nodes} nodes, {told.get('failed', 0)} failed, "
    figure += f"{hits:.0%} from the cache{last(play)}; exit code {strict.code} for a target that is missed"
    sound = play.sound and nodes == len(run.fleet.names) and not told.get("failed") and strict.code != 0
    run.say("benchmark", figure, "all nodes, 0 failed", met=sound)
