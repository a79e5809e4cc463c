"""A slow node is not a dead node, and a machine that stood still blames nobody."""

from holdfast.supervisor.silence import BEAT_S, HALTED_BOUND_S, SILENT_LEAST_S, Silence


def beats(silence: Silence, count: int, *, halted: bool = False, gap_s: float = BEAT_S) -> None:
    for _ in range(count):
        silence.missed(gap_s, halted=halted)


def test_a_process_that_is_stopped_is_dead_after_a_second_and_no_sooner() -> None:
    silence = Silence()
    beats(silence, 3, halted=True)
    assert silence.verdict(5.0) == ""
    beats(silence, 2, halted=True)
    assert "halted" in silence.verdict(5.0)
    assert silence.halted_s is not None
    assert HALTED_BOUND_S <= silence.halted_s < 2 * HALTED_BOUND_S


def test_bursts_of_being_stopped_are_slow_and_not_dead() -> None:
    silence = Silence()
    for _ in range(100):
        beats(silence, 2, halted=True)
        silence.heard()
        assert silence.verdict(0.1) == ""


def test_a_process_that_runs_and_is_mute_has_the_engines_own_timeout() -> None:
    silence = Silence()
    beats(silence, 16)
    assert silence.verdict(5.0) == ""
    beats(silence, 2)
    assert "longer than the node timeout" in silence.verdict(5.0)


def test_however_short_the_node_timeout_a_long_command_is_no_death() -> None:
    silence = Silence()
    while silence.silent_s < SILENT_LEAST_S - BEAT_S:
        beats(silence, 1)
        assert silence.verdict(0.1) == ""


def test_a_machine_that_stood_still_for_an_hour_holds_nobody_for_dead() -> None:
    silence = Silence()
    beats(silence, 1, gap_s=3600.0)
    assert silence.verdict(2.0) == ""
    beats(silence, 1, gap_s=3600.0, halted=True)
    assert silence.verdict(2.0) == ""
    silence.heard()
    assert silence == Silence()


def test_stopped_again_after_it_ran_counts_anew() -> None:
    silence = Silence()
    beats(silence, 3, halted=True)
    beats(silence, 1)
    beats(silence, 3, halted=True)
    assert silence.verdict(5.0) == ""
