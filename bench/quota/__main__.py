"""`make bench-quota`: runs every case and prints what must be and what was. QUOTA_SECONDS makes it shorter."""

from __future__ import annotations

import os
import sys

from bench.quota.hot import measure
from bench.quota.scene import BURST_SECONDS, TRACE, Outcome, Run, perform


def cases() -> list[Run]:
    """The cases, with the durations that were asked for."""
    seconds = float(os.environ.get("QUOTA_SECONDS", "300"))
    members = int(os.environ.get("QUOTA_MEMBERS", "50"))
    away = min(60.0, seconds / 2)
    found = [
        Run("3× demand", 3000, 600_000, 3.0, members, seconds),
        Run("the seeds' key, 3× demand", 500, 100_000, 3.0, members, seconds),
        Run("Redis killed", 3000, 600_000, 3.0, members, max(seconds, away + 40), "killed", away),
        Run("half of them cut off", 3000, 600_000, 3.0, members, max(seconds, away + 40), "cut off", away),
    ]
    if TRACE.exists():
        found.insert(
            2, Run("bursts: the Azure code trace, 2× demand", 3000, 600_000, 2.0, members, seconds, trace=True)
        )
    if os.geteuid() != 0:
        found.pop()
        print("without root nobody can be cut off: that case is left out", file=sys.stderr)
    wanted = sys.argv[1:]
    return [run for run in found if not wanted or any(word in run.name for word in wanted)]


def row(outcome: Outcome) -> str:
    """A line of the table."""
    used = max(outcome.requests_used, outcome.tokens_used)
    share = outcome.provider_429 / max(1, outcome.reached)
    away = f"{outcome.used_while_away:.1%}" if outcome.run.away else ""
    cells = [
        outcome.run.name,
        f"{len(outcome.answered):,}",
        f"{outcome.provider_429} ({share:.2%})",
        f"{outcome.requests_used:.1%} / {outcome.tokens_used:.1%}",
        f"{used:.1%}",
        away,
        f"{outcome.jain:.4f}",
        f"{outcome.trips / max(1, outcome.run.members) / outcome.run.seconds:.1f}",
        str(outcome.failed),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run what was asked for."""
    runs = cases()
    members = runs[0].members if runs else 1
    print(f"{members} members, each a process; the judge lets a rested key spend {BURST_SECONDS:g} s at once\n")
    print(
        "| case | answered | provider's 429s | used after 10 s: requests / tokens | the scarcer | used while away"
        " | Jain | trips/s a member | failed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for run in runs:
        print(row(perform(run)), flush=True)
    if len(sys.argv) == 1 or "hot" in sys.argv[1:]:
        hot = measure(min(20.0, float(os.environ.get("QUOTA_SECONDS", "300"))))
        print(
            f"\nadmission while quota is in hand, {len(hot.took_us):,} calls at 1,000/s: p50 {hot.at(0.5):.1f} us,"
            f" p99 {hot.at(0.99):.1f} us; {hot.waited} calls found none in hand; {hot.trips:.4f} round trips a request"
        )


if __name__ == "__main__":
    main()
