"""What is measured: a limit, who asks how much of it, what happens in the middle; and what was counted."""

from __future__ import annotations

from dataclasses import dataclass, field

BURST_SECONDS = 5.0
"""What the judge lets a rested key spend at once: a twelfth of what providers usually do."""
REPLY_TOKENS = 90
PROMPT = "Tell me something about the sea, please. " * 10
CALL_TOKENS = len(PROMPT) // 4 + 3 + REPLY_TOKENS
"""What the judge counts for one of the usual calls."""
WARM_SECONDS = 10.0
"""What a fleet may take to join: the share of the limit is counted after that."""
BOUND_SECONDS = 3.0
"""What docs/why/quota.md publishes: never more than a burst of 1 s and a lease of 2 s ahead of the rate."""


@dataclass(frozen=True)
class Scene:
    """One case: the limit, the demand as a multiple of it, and what happens in the middle."""

    rpm: int
    tpm: int
    demand: float
    members: int
    seconds: float
    away: str = ""  # "killed", "cut off", or nothing
    away_seconds: float = 60.0
    trace: bool = False
    light: float = 0.0  # requests a second of a light app; the others then begin half-way
    patience: float = 10.0
    with_work: int = 0  # so many members have all the work; 0: all of them
    burst_seconds: float = BURST_SECONDS
    through: tuple[str, ...] = ()  # URLs of peers to ask in turn, without any limits of our own

    @property
    def workers(self) -> int:
        """Members that have work."""
        return self.with_work or self.members

    @property
    def calls_per_second(self) -> float:
        """Usual calls that the limit has room for."""
        return min(self.rpm, self.tpm / CALL_TOKENS) / 60


@dataclass
class Answered:
    """An app's answers: when each was asked for, after the begin, and how long it took, in seconds."""

    asked: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """What the judge and the members counted. Shares are of what the limit grants in the time."""

    scene: Scene
    sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    by_member: list[int] = field(default_factory=list)
    apps: dict[str, Answered] = field(default_factory=dict)
    trips: int = 0
    lag_p99: float = 0.0  # seconds, of the member that had to wait most for its event loop
    lag_most: float = 0.0
    ready_seconds: float = 0.0
    busy_cores: float = 0.0
    own_seconds: float = 0.0  # of CPU: members, judge and Redis, without the members' start
    provider_429: int = 0
    reached: int = 0
    requests_used: float = 0.0
    tokens_used: float = 0.0
    used_while_away: float = 0.0
    ahead: float = 0.0  # seconds of the rate, at most, that were spent before they had accrued
    judge_p99: float = 0.0  # seconds until the judge answers a question about itself
    possible: float = 1.0  # what one line with all arrivals in it could have used

    def judged(self, requests: float, tokens: float, answered: int, refused: int, ahead: float) -> None:
        """What the judge says: shares used, calls answered and refused, seconds ahead of the rate."""
        self.requests_used, self.tokens_used = requests, tokens
        self.provider_429, self.reached = refused, answered + refused
        self.ahead = ahead

    @property
    def used(self) -> float:
        """Of the scarcer of the two."""
        return max(self.requests_used, self.tokens_used)

    @property
    def refused(self) -> float:
        """The provider's 429s, as a share of what reached it."""
        return self.provider_429 / max(1, self.reached)

    @property
    def others_cores(self) -> float:
        """Cores that were busy with something else meanwhile."""
        return max(0.0, self.busy_cores - self.own_seconds / self.scene.seconds)

    @property
    def jain(self) -> float:
        """Jain's index over the members."""
        squares = sum(each * each for each in self.by_member)
        return sum(self.by_member) ** 2 / (len(self.by_member) * squares) if squares else 0.0

    @property
    def answered(self) -> int:
        """Calls answered in time, of all members and apps."""
        return sum(self.by_member)

    @property
    def errors_text(self) -> str:
        """What the callers met."""
        return ", ".join(f"{count:,} {name}" for name, count in sorted(self.errors.items())) or "none"
