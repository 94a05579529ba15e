"""The forecast: a geometric series with an end, and what each policy does without one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import GIB, MIB
from bot.domain.steps import MigrationPolicy
from plugins.migrate.forecast import QEMU_DOWNTIME, Forecast, Patience, forecast, patience
from plugins.migrate.settings import MigrateSettings

EVER = Patience(limit=1e12, stall=1e9)
WAITS = Patience(limit=120, stall=60, raising=40)
memories = st.integers(64 * MIB, 256 * GIB)
rates = st.floats(1 * MIB, 10 * GIB)
shares = st.floats(0, 0.9)  # dirty rate as a share of the network's


def safe(memory: int, dirty: float | None, rate: float, waits: Patience = EVER) -> Forecast:
    return forecast(memory, dirty, rate, policy=MigrationPolicy.SAFE, waits=waits)


@given(memories, rates, shares)
def test_it_is_the_sum_of_the_geometric_series(memory: int, rate: float, share: float) -> None:
    told = safe(memory, share * rate, rate)
    assert told.converges
    assert told.seconds >= memory / rate * 0.999
    assert told.seconds <= memory / rate / (1 - share) * 1.001


@given(memories, rates, shares)
def test_the_pause_is_never_longer_than_qemu_allows(memory: int, rate: float, share: float) -> None:
    told = safe(memory, share * rate, rate)
    assert told.downtime is not None
    assert 0 <= told.downtime <= QEMU_DOWNTIME * 1.001


@given(memories, rates, st.tuples(shares, shares))
def test_writing_more_never_makes_it_shorter(
    memory: int, rate: float, two: tuple[float, float]
) -> None:
    less, more = (safe(memory, share * rate, rate) for share in sorted(two))
    assert less.seconds <= more.seconds * 1.001


@given(memories, st.tuples(rates, rates), shares)
def test_a_faster_network_never_makes_it_longer(
    memory: int, two: tuple[float, float], share: float
) -> None:
    slow, fast = sorted(two)
    dirty = share * slow
    assert safe(memory, dirty, fast).seconds <= safe(memory, dirty, slow).seconds * 1.001


@given(memories, rates, st.floats(1.0, 50))
def test_writing_faster_than_the_network_never_converges(
    memory: int, rate: float, share: float
) -> None:
    told = safe(memory, share * rate, rate)
    assert bool(told.converges) == (memory <= rate * QEMU_DOWNTIME)


@given(
    memories, rates, st.floats(0, 10), st.sampled_from(MigrationPolicy), st.integers(0, 10 * GIB)
)
def test_it_is_always_finite_and_positive(
    memory: int, rate: float, share: float, policy: MigrationPolicy, storage: int
) -> None:
    told = forecast(
        memory, share * rate, rate, policy=policy, waits=WAITS, floor=0.03, storage=storage
    )
    assert 0 < told.seconds < float("inf")
    assert told.downtime is None or told.downtime >= 0.03
    assert (told.downtime is None) == (policy is MigrationPolicy.SAFE and not told.converges)


@given(memories, rates, shares, st.integers(0, 100 * GIB))
def test_copying_disks_adds_just_their_time(
    memory: int, rate: float, share: float, storage: int
) -> None:
    without = safe(memory, share * rate, rate)
    with_disks = forecast(
        memory, share * rate, rate, policy=MigrationPolicy.SAFE, waits=EVER, storage=storage
    )
    assert with_disks.seconds == pytest.approx(without.seconds + storage / rate)
    assert with_disks.downtime == without.downtime


def test_worked_by_hand() -> None:
    # 1 GiB at 100 MiB/s with 50 MiB/s written: 1024, 512, 256, 128, 64, 32 MiB; 16 fits into 30
    # MiB, sent in the pause
    told = safe(GIB, 50.0 * MIB, 100.0 * MIB)
    assert told.seconds == pytest.approx((1024 + 512 + 256 + 128 + 64 + 32 + 16) / 100)
    assert told.downtime == pytest.approx(0.16)
    half = safe(GIB, 25.0 * MIB, 100.0 * MIB)  # 1024, 256, 64; 16 is left
    assert half.seconds == pytest.approx((1024 + 256 + 64 + 16) / 100)
    assert half.downtime == pytest.approx(0.16)


def test_not_measured_is_one_pass_and_no_promise() -> None:
    assert safe(GIB, None, 100.0 * MIB) == Forecast(10.24, None, None)


def test_what_each_policy_does_when_it_does_not_converge() -> None:
    # 1 GiB at 128 MiB/s: 8 s a pass; after 60 s without gain the policy's means is taken.
    def told(policy: MigrationPolicy, dirty: float = 1000.0 * MIB) -> Forecast:
        return forecast(GIB, dirty, 128.0 * MIB, policy=policy, waits=WAITS, floor=0.03)

    assert told(MigrationPolicy.SAFE) == Forecast(68.0, None, converges=False)
    assert told(MigrationPolicy.POSTCOPY) == Forecast(76.0, 0.03, converges=False)
    # At 99 % throttle even 1000 MiB/s becomes 10 MiB/s: FAST ends by itself.
    assert told(MigrationPolicy.FAST).converges
    assert told(MigrationPolicy.FAST, 100_000.0 * MIB) == Forecast(116.0, 8.03, converges=False)


def test_patience_grows_with_size_and_with_a_limit_a_person_set() -> None:
    settings = MigrateSettings(seconds_per_gib=60)
    assert patience(settings, 128 * MIB, 0).limit == 60
    assert patience(settings, 4 * GIB, 0).limit == 240
    assert patience(settings, 128 * MIB, 1).limit == 384
