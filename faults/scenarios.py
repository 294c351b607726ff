"""The sixteen faults of Failover Bench's catalogue 0.1, as it describes them, and what it asks of each.

Source: github.com/failoverbench/failoverbench, scenarios/catalogue.yaml and METHODOLOGY.md, as of September 2026. All
are streams, with one sound fallback of another model. `pass`: the whole answer (or, where only an error is honest, a
clean error) and nothing to complain of; `partial`: the same, and something advised was not done; `safe`: a clean error
in time; `fail`: a hang, a cut answer called whole, or something required was not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from faults import wire
from faults.matrix import Fault, Mode, Where
from faults.verdict import most_within
from faults.wire import EVENTS, PREFILL_REFUSED, Break, End, Scene, Steps, answer_text, chunk, head

DOWN_SECONDS: Final = 60.0
BACK_SECONDS: Final = 30.0
SHOWN_SECONDS: Final = 0.3


@dataclass(slots=True)
class Seen:
    """What a caller and the provider saw of one scenario; times in seconds.

    `whole`: the caller was told that this is all. `primary` and `spare` are when each was tried, by one clock.
    """

    text: str = ""
    whole: bool = False
    error: str = ""
    seconds: float = 0.0
    hung: bool = False
    model: str = ""
    usage: bool = False
    alive: bool = True
    primary: list[float] = field(default_factory=list)
    spare: list[float] = field(default_factory=list)


Rule = Callable[[Seen], str]
"""A complaint, or nothing."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault, and what is required and advised. `times`: how often it is asked, `every` so many seconds."""

    number: str
    title: str
    act: Callable[[], Break]
    where: Where
    patience: float
    must: tuple[Rule, ...] = ()
    should: tuple[Rule, ...] = ()
    rescue: bool = True
    mode: Mode = "plain"
    after: bool = False
    """Whether a sound call has to be answered through the same system afterwards."""
    times: int = 1
    every: float = 0.0

    def fault(self) -> Fault:
        """For the provider."""
        return Fault(self.title, self.act(), (), middle=self.where == "middle", streams_only=True)

    def judge(self, name: str, seen: Seen) -> tuple[str, str]:
        """Verdict and reason, of the answer to `name`."""
        right = answer_text(name)
        if seen.hung or seen.seconds > self.patience:
            return "fail", "hang"
        if seen.whole and seen.text != right:
            return "fail", "a cut answer called whole" if right.startswith(seen.text) else "a wrong answer"
        if required := [complaint for rule in self.must if (complaint := rule(seen))]:
            return "fail", "; ".join(required)
        if not self.rescue:
            return ("partial", "went round the refusal") if seen.whole else ("pass", "")
        if not seen.whole:
            return "safe", seen.error[:60] or "the connection broke off"
        advised = [complaint for rule in self.should if (complaint := rule(seen))]
        return ("partial", "; ".join(advised)) if advised else ("pass", "")


def tried(least: int = 0, most: int = 99) -> Rule:
    """So many tries at the primary."""
    return lambda seen: "" if least <= len(seen.primary) <= most else f"{len(seen.primary)} tries"


def waited(seconds: float) -> Rule:
    """Between the first two tries."""

    def rule(seen: Seen) -> str:
        gap = seen.primary[1] - seen.primary[0] if len(seen.primary) > 1 else 0.0
        return "" if gap >= seconds else f"waited {gap:.1f} s"

    return rule


def calm(window: float, most: int) -> Rule:
    """At most so many tries from the first one on, in so many seconds."""
    return lambda seen: "" if most_within(seen.primary, window) <= most else "hammered"


def within(seconds: float) -> Rule:
    """It was over in time."""
    return lambda seen: "" if seen.seconds <= seconds else f"took {seen.seconds:.0f} s"


def _alive(seen: Seen) -> str:
    return "" if seen.alive else "a sound call failed afterwards"


def _usage(seen: Seen) -> str:
    return "" if seen.usage else "no usage"


def _names_who_answered(seen: Seen) -> str:
    return "" if not seen.whole or seen.model == "spare" else f"named {seen.model or 'nobody'}"


def _real_error(seen: Seen) -> str:
    return "the fallback's own refusal" if PREFILL_REFUSED in seen.error else ""


def _served(seen: Seen) -> str:
    return "" if seen.whole else "not answered all the time"


def _back(seen: Seen) -> str:
    up = seen.primary[0] + DOWN_SECONDS if seen.primary else 0.0
    return "" if any(up <= time <= up + BACK_SECONDS for time in seen.primary) else "did not come back"


def _always(act: Break) -> Callable[[], Break]:
    return lambda: act


def _late(seconds: float) -> Break:
    """The head at once, the first event later, the rest as it should be."""
    return lambda scene: [scene.sound()[0], seconds, *scene.sound()[1:]]


def _stall(seconds: float) -> Break:
    return lambda scene: [*scene.part(), seconds, End.CLOSE]


def _shown(act: Break) -> Break:
    """A fault that comes when what is before it has surely reached the caller."""

    def steps(scene: Scene) -> Steps:
        before, done = len(scene.part()), act(scene)
        return [*done[:before], SHOWN_SECONDS, *done[before:]]

    return steps


def _bad_event(scene: Scene) -> Steps:
    """One event more than there should be, and it is no JSON."""
    events = [*scene.events[: scene.begun], b'data: {"choices": [{"ind\n\n', *scene.events[scene.begun :]]
    return [head(EVENTS), *map(chunk, events), chunk(b"")]


class Flap:
    """Down from its first call on, for `DOWN_SECONDS`."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, scene: Scene) -> Steps:
        """503, or the sound answer."""
        now = asyncio.get_running_loop().time()
        self._since = now if self._since is None else self._since
        return wire.refuse(503, "unavailable")(scene) if now < self._since + DOWN_SECONDS else scene.sound()


_LIMITED: Final = _always(wire.refuse(429, "rate_limit_exceeded", "rate_limit_error", "retry-after: 2"))
_DOWN: Final = _always(wire.refuse(503, "unavailable"))
_CUT: Final = _always(_shown(wire.cut_chunks))
_BAD: Final = "invalid_request_error"

SCENARIOS: Final = (
    Scenario("S01", "429 with Retry-After", _LIMITED, "once", 20, (calm(1.5, 2),), (tried(2), waited(1.8))),
    Scenario("S02", "429 without, for good", _always(wire.refuse(429, "rate_limit_exceeded", "rate_limit_error")),
             "target", 40, (calm(3, 4), tried(most=6))),
    Scenario("S03", "500 once", _always(wire.refuse(500, "server_error")), "once", 20, (), (tried(2),)),
    Scenario("S04", "503 for good", _DOWN, "target", 40, (tried(most=6),)),
    Scenario("S05", "reset before the head", _always(wire.only(End.RESET)), "once", 20),
    Scenario("S06", "no response for 120 s", _always(wire.only(120.0, End.CLOSE)), "target", 130, (within(100),),
             (tried(most=1),)),
    Scenario("S07", "first token after 20 s", _always(_late(20.0)), "target", 60, (), (within(15),)),
    Scenario("S08", "stream cut", _CUT, "middle", 40),
    Scenario("S09", "stream stalls for 30 s", _always(_stall(30.0)), "middle", 70, (within(45), _alive), after=True),
    Scenario("S10", "malformed event", _always(_shown(_bad_event)), "middle", 30, (_alive,), after=True),
    Scenario("S11", "no [DONE]", _always(_shown(wire.no_done)), "middle", 30, (within(8),), (_usage,)),
    Scenario("S12", "context length", _always(wire.refuse(400, "context_length_exceeded", _BAD)), "target", 20,
             (tried(1, 1),)),
    Scenario("S13", "content filter", _always(wire.refuse(400, "content_policy_violation", _BAD)), "target", 20,
             (tried(1, 1),), rescue=False),
    Scenario("S14", "cut, and no prefill", _CUT, "middle", 40, (_real_error,), mode="refused"),
    Scenario("S15", "down for 60 s, then well", Flap, "target", 30, (_served, _back), times=20, every=4.0),
    Scenario("S16", "who answered, at 503", _DOWN, "target", 40, (_names_who_answered, tried(most=6)), (_usage,)),
)  # fmt: skip
