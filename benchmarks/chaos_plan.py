"""What is dropped and what goes wrong: drawn by one seeded generator before anything runs."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

N_SOUND = 4
NO_SCAN = N_SOUND
"""The content that is a file and no scan."""
SECONDS_A_SCAN = 0.8
MEAN_GAP = 8
"""Requests between two that are spoilt."""

REQUESTS = ("server error", "throttled", "answer lost", "connection reset", "half a body", "slow body")
SIGNALS = ("SIGTERM", "SIGKILL", "SIGSTOP, then SIGCONT", "SIGSTOP, then SIGKILL")
VERSIONS = ("replaced at once", "A-B-A", "removed at once")
WEIGHTS = {
    **dict.fromkeys(REQUESTS, 90),
    **dict.fromkeys(SIGNALS, 20),
    **dict.fromkeys(VERSIONS, 20),
    "announced again": 90,
    "announced late": 60,
    "poison": 140,
    "queue purged": 4,
    "S3 gone": 6,
    "refresh refused": 20,
}
"""The kinds of faults, and how many of each fall among a thousand."""
QUEUES = ("Ingest", "Reconstruct", "Refresh")
POISON = ("{", "[]", '{"Records": [{}]}', '"\u2603"', '{"scan_id": 1}')


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that is done to the service."""

    kind: str
    """"drop", or a kind of fault that is no request's."""
    pause_s: float
    """Before it."""
    key: str = ""
    contents: tuple[int, ...] = ()
    """What is put under the key, one after the other, or whose notification is sent."""
    gap_s: float = 0.0
    """Between two versions."""
    is_removed: bool = False
    seconds: float = 0.0
    """How long it lasts."""
    pick: float = 0.0
    """Of those that it may hit, from 0 to 1."""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to the service, in its order."""

    steps: tuple[Step, ...]
    requests: tuple[tuple[int, str], ...]
    """After so many sound requests, one that is spoilt in such a way."""

    @property
    def kinds(self) -> Counter[str]:
        """How many faults of each kind."""
        versions = [_kind_of_drop(step) for step in self.steps if step.kind == "drop"]
        others = [step.kind for step in self.steps if step.kind != "drop"]
        return Counter([*(kind for kind in versions if kind), *others, *(kind for _, kind in self.requests)])


def draw(scans: int, faults: int, seed: int, kinds: Iterable[str] = WEIGHTS) -> Plan:
    """So many drops with so many faults of these kinds. The same arguments make the same plan.

    Raises:
        KeyError: there is no such kind of fault.
    """
    random = Random(seed)
    weights = {kind: WEIGHTS[kind] for kind in kinds}
    drawn = random.choices(list(weights), list(weights.values()), k=faults)
    versions = [kind for kind in drawn if kind in VERSIONS][:scans]
    requests = [kind for kind in drawn if kind in REQUESTS]
    others = [kind for kind in drawn if kind not in REQUESTS + VERSIONS]
    whats = [
        *(("drop", kind) for kind in versions),
        *[("drop", "")] * (scans - len(versions)),
        *((k, "") for k in others),
    ]
    random.shuffle(whats)
    pause_s = 2 * scans * SECONDS_A_SCAN / max(1, len(whats))
    dropped: dict[str, Step] = {"undisturbed/0.h5": Step(kind="drop", pause_s=0, contents=(0,))}
    steps = []
    for number, (kind, version) in enumerate(whats):
        pause = random.uniform(0, pause_s)
        if kind == "drop":
            step = _drop(random, f"site{number % 7}/{number}.h5", version, pause)
            dropped[step.key] = step
        else:
            key = random.choice(list(dropped))
            step = _fault(random, kind, key, dropped[key].contents, pause)
        steps.append(step)
    return Plan(steps=tuple(steps), requests=tuple((random.randint(0, 2 * MEAN_GAP), kind) for kind in requests))


def _drop(random: Random, key: str, version: str, pause_s: float) -> Step:
    first, second = random.sample(range(N_SOUND), 2)
    contents = {"": (first,), "removed at once": (first,), "replaced at once": (first, second)}.get(
        version, (first, second, first)
    )
    if not version and random.random() < 1 / 12:
        contents = (NO_SCAN,)
    gap_s = random.choice((0.0, 0.002, 0.05, 1.0))
    removed = version == "removed at once"
    return Step(kind="drop", pause_s=pause_s, key=key, contents=contents, gap_s=gap_s, is_removed=removed)


def _fault(random: Random, kind: str, key: str, contents: tuple[int, ...], pause_s: float) -> Step:
    seconds = random.choice((2.0, 6.0, 20.0) if kind in SIGNALS else (1.0, 3.0, 6.0))
    pick, text = random.random(), random.choice(POISON)
    content = contents[0] if kind == "announced late" else contents[-1]
    return Step(kind=kind, pause_s=pause_s, key=key, contents=(content,), seconds=seconds, pick=pick, text=text)


def _kind_of_drop(step: Step) -> str:
    if step.is_removed:
        return "removed at once"
    return {1: "", 2: "replaced at once", 3: "A-B-A"}[len(step.contents)]
