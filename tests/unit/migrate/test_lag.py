"""How far behind a target is."""

from __future__ import annotations

from holdfast.migrate.relay.lag import Lag


def test_lag_is_counted_from_when_the_first_missing_byte_came() -> None:
    lag = Lag()
    lag.came(10.0, 100)
    lag.came(10.001, 150)
    lag.came(10.5, 300)
    lag.heard(10.6, 0, 300)
    assert (lag.bytes, round(lag.ms)) == (300, 600)
    lag.heard(10.7, 150, 300)
    assert (lag.bytes, round(lag.ms)) == (150, 200)
    lag.heard(10.8, 300, 300)
    assert (lag.bytes, lag.ms) == (0, 0.0)


def test_a_target_that_is_in_step_has_no_lag_however_long_it_was_not_heard_of() -> None:
    lag = Lag()
    lag.heard(50.0, 7, 7)
    assert (lag.bytes, lag.ms) == (0, 0.0)
    lag.came(60.0, 9)
    lag.clear()
    lag.heard(90.0, 0, 9)
    assert (lag.bytes, lag.ms) == (9, 0.0)
