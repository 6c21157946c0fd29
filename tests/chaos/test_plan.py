"""The same seed gives the same faults, as often as the profile says, and no more at a time than it allows."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta

import pytest

from holdfast import InvalidConfiguration
from holdfast.chaos.plan import OF_NETWORK, OF_STEPS, Fault, FaultKind, FaultPlan
from holdfast.chaos.profiles import AGGRESSIVE, GENTLE, MODERATE, PROFILES, Profile

ATTEMPTS = [
    (f"run-{run}", "charge", f"charge-{call}", n) for run in range(300) for call in (1, 2) for n in (1, 2)
]


def faults(plan: FaultPlan, step: str = "charge") -> dict[tuple[str, str, int], Fault | None]:
    """What each attempt gets, asked in an order of chance."""
    asked = random.sample(ATTEMPTS, len(ATTEMPTS))
    return {(run, call, n): plan.fault(run, step, call, n) for run, _, call, n in asked}


def test_the_order_of_attempts_does_not_matter_and_the_seed_does() -> None:
    assert faults(FaultPlan("moderate", 7)) == faults(FaultPlan(MODERATE, 7))
    assert faults(FaultPlan("moderate", 7)) != faults(FaultPlan("moderate", 8))


def test_another_process_finds_the_same_faults() -> None:
    code = (
        "from holdfast.chaos.plan import FaultPlan\n"
        "plan = FaultPlan('aggressive', 3)\n"
        "print([plan.fault(f'r{n}', 's', 's-1', 1) for n in range(50)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    plan = FaultPlan("aggressive", 3)
    assert done.stdout.strip() == str([plan.fault(f"r{n}", "s", "s-1", 1) for n in range(50)])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("seed", [1, 2])
def test_over_2000_attempts_faults_come_as_often_as_the_profile_says(profile: Profile, seed: int) -> None:
    plan = FaultPlan(profile, seed)
    drawn = [plan.fault(f"run-{n}", "charge", "charge-1", 1) for n in range(2000)]
    undoing = [plan.fault(f"run-{n}", "charge.compensate", "undo-1", 1) for n in range(2000)]
    left = left_undoing = 1.0  # each kind is drawn where those before it were not
    for kind in OF_STEPS:
        likely = left * getattr(profile, kind.value)
        assert _share(drawn, kind) == pytest.approx(likely, abs=4 * (likely / 2000) ** 0.5)
        left -= likely
        other = FaultKind.COMPENSATION if kind is FaultKind.ERROR else kind
        likely = left_undoing * getattr(profile, other.value)
        assert _share(undoing, other) == pytest.approx(likely, abs=4 * (likely / 2000) ** 0.5)
        left_undoing -= likely
    delays = [f.duration for f in drawn if f is not None and f.kind is FaultKind.LATENCY]
    assert profile.min_latency <= min(delays) < max(delays) <= profile.max_latency
    ends = [f.after for f in drawn if f is not None and f.kind is not FaultKind.LATENCY]
    assert sum(ends) == pytest.approx(len(ends) / 2, abs=2 * len(ends) ** 0.5)
    network = [plan.network_fault(n) for n in range(2000)]
    share = 1 - network.count(None) / 2000
    assert share == pytest.approx(profile.network, abs=4 * (profile.network / 2000) ** 0.5)


def _share(drawn: list[Fault | None], kind: FaultKind) -> float:
    return sum(fault is not None and fault.kind is kind for fault in drawn) / len(drawn)


def test_a_compensation_fails_by_its_own_probability() -> None:
    plan = FaultPlan(Profile(error=1.0, compensation=0.5, max_events=None), 1)
    kinds = [f and f.kind for f in faults(plan, "charge.compensate").values()]
    assert set(kinds) == {FaultKind.COMPENSATION, None}
    assert kinds.count(None) == pytest.approx(len(kinds) / 2, rel=0.15)
    assert {f and f.kind for f in faults(plan).values()} == {FaultKind.ERROR}


def test_the_network_has_faults_of_each_kind() -> None:
    plan = FaultPlan(Profile(network=0.5), 1)
    drawn = [plan.network_fault(n) for n in range(400)]
    assert {f.kind for f in drawn if f is not None} == set(OF_NETWORK)
    assert drawn.count(None) == pytest.approx(200, rel=0.15)
    assert all(1 <= f.duration.total_seconds() <= 5 for f in drawn if f is not None)


def test_no_more_faults_than_the_profile_allows_in_any_interval() -> None:
    plan, happened = FaultPlan(MODERATE, 1), list[float]()  # three in five seconds
    for tick in range(200):
        if plan.has_room(happened, tick / 10):
            happened.append(tick / 10)
    assert max(sum(start <= at < start + 5 for at in happened) for start in happened) == 3
    assert len(happened) == 12
    assert FaultPlan(Profile(max_events=None), 1).has_room([0.0] * 1000, 0.0)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_travels_as_json(name: str) -> None:
    assert Profile.from_dict(PROFILES[name].to_dict()) == PROFILES[name]


def test_the_profiles_are_these() -> None:
    def told(profile: Profile) -> list[object]:
        low, high = profile.min_latency, profile.max_latency
        return [
            *(profile.crash, profile.timeout, profile.error, profile.latency, profile.compensation),
            *(low / timedelta(milliseconds=1), high / timedelta(milliseconds=1)),
            *(profile.interval.total_seconds(), profile.max_events),
        ]

    assert told(GENTLE) == [0.05, 0.03, 0.08, 0.10, 0.02, 100, 500, 10, 1]
    assert told(MODERATE) == [0.15, 0.10, 0.20, 0.25, 0.08, 200, 2000, 5, 3]
    assert told(AGGRESSIVE) == [0.30, 0.20, 0.35, 0.40, 0.15, 500, 5000, 2, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"crash": 1.1},
        {"error": -0.1},
        {"min_latency": 2.0, "max_latency": 1.0},
        {"interval": 0},
        {"max_events": 0},
        {"crahs": 0.5},
        {"interval": "soon"},
        {"interval": 1e300},
        {"crash": "often"},
        {"error": True},
        {"latency": float("nan")},
        {"max_events": 2.5},
        {"max_events": True},
        {"name": 5},
        {"name": ""},
    ],
)
def test_what_is_no_profile_is_refused_by_the_name_of_its_field(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidConfiguration, match=str(next(iter(wrong)))):
        Profile.from_dict(wrong)


def test_durations_of_a_profile_in_code_are_timedeltas() -> None:
    with pytest.raises(InvalidConfiguration, match="interval=5 is no timedelta"):
        Profile(interval=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(InvalidConfiguration, match="gentle, moderate, aggressive"):
        FaultPlan("wild", 1)
