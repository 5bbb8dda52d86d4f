"""What a command is expected to take."""

from __future__ import annotations

import pytest

from tbss_hpc.core.durations import Estimate, guessed, learned


def test_what_the_user_says_is_believed() -> None:
    assert guessed("fsl", 100.0, 0) == Estimate(100.0, 150.0, "given by --command-time")


def test_an_fsl_pair_takes_what_fsls_guide_says() -> None:
    assert guessed("fsl", None, 0) == Estimate(300.0, 600.0, "FSL's guide: about 5 minutes a pair")


def test_a_greedy_pair_takes_as_long_as_its_image_is_large() -> None:
    small, large = guessed("greedy", None, 100_000), guessed("greedy", None, 900_000)

    assert small is not None
    assert large is not None
    assert small.seconds == pytest.approx(0.85)
    assert large.seconds == pytest.approx(6.05)
    assert large.bound_seconds == pytest.approx(60.5)


def test_nothing_is_known_of_other_commands() -> None:
    assert guessed(None, None, 0) is None


def test_too_few_commands_teach_nothing() -> None:
    assert learned([60.0, 60.0], "commands") is None


def test_the_longest_command_seen_bounds_the_next() -> None:
    assert learned([10.0, 20.0, 60.0], "commands") == Estimate(30.0, 90.0, "mean of 3 commands")
