"""What the values of a site allow together."""

from __future__ import annotations

import msgspec
import pytest

from tbss_hpc.core.site import (
    KEYS,
    Site,
    default_workers,
    passed_names,
    problems,
    slots,
    validate,
)
from tbss_hpc.errors import UsageError

GIB = 1 << 30


def batch(**values: object) -> Site:
    """Make a site that is in order, but for what is given."""
    usual = {"scheduler": "slurm", "cores": 8, "memory": 16 * GIB, "walltime": 14400.0}
    return Site(**{**usual, **values})  # type: ignore[arg-type]  # wrong ones are the point


def guilty(site: Site) -> list[tuple[str, ...]]:
    return [problem.keys for problem in problems(site)]


def test_a_usual_site_is_in_order() -> None:
    assert guilty(batch()) == []


def test_this_machine_needs_to_be_told_nothing() -> None:
    assert guilty(Site(scheduler="local")) == []


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge"])
@pytest.mark.parametrize("key", ["cores", "memory", "walltime"])
def test_a_batch_system_has_to_be_told_how_much(scheduler: str, key: str) -> None:
    assert guilty(batch(scheduler=scheduler, **{key: None})) == [(key,)]


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"cores_per_command": 9}, ("cores-per-command", "cores")),
        ({"memory_per_command": 17 * GIB}, ("memory-per-command", "memory")),
        ({"shortest_walltime": 14401.0}, ("shortest-walltime", "walltime")),
        ({"walltime": 0.0}, ("walltime",)),
        ({"lease": 0.0}, ("lease",)),
        ({"core_hours": 0.0}, ("core-hours",)),
        ({"memory": 0}, ("memory",)),
        ({"queue": "short long"}, ("queue",)),
        ({"account": "lab\n#SBATCH --requeue"}, ("account",)),
        ({"directives": ("--exclusive\nrm -rf /",)}, ("directives",)),
        ({"wrap": "apptainer exec\nfsl.sif"}, ("wrap",)),
        ({"wrap": "apptainer exec 'fsl.sif"}, ("wrap",)),
        ({"environment": ("FSLDIR=/opt/fsl",)}, ("environment",)),
        ({"environment": ("FSL DIR",)}, ("environment",)),
        ({"ports": (40100, 40000)}, ("ports",)),
        ({"ports": (80, 90)}, ("ports",)),
        ({"ports": (40000, 70000)}, ("ports",)),
        ({"scratch": "scratch"}, ("scratch",)),
    ],
)
def test_values_that_cannot_be_used_together_are_named(
    values: dict[str, object], keys: tuple[str, ...]
) -> None:
    assert guilty(batch(**values)) == [keys]


@pytest.mark.parametrize(
    "values",
    [
        {"cores_per_command": 8},
        {"memory_per_command": 16 * GIB},
        {"shortest_walltime": 14400.0},
        {"idle": 0.0},
        {"environment": ("FSL*", "ANTS_PATH", "*")},
        {"ports": (40000, 40000)},
        {"scratch": "$TMPDIR/tbss"},
        {"scratch": "/scratch"},
        {"wrap": "apptainer exec --bind '/my data' fsl.sif"},
    ],
)
def test_values_at_the_edge_are_taken(values: dict[str, object]) -> None:
    assert guilty(batch(**values)) == []


@pytest.mark.parametrize(
    "values",
    [{"queue": "short"}, {"walltime": 60.0}, {"directives": ("--exclusive",)}, {"mail": "me@x"}],
)
def test_this_machine_does_not_quietly_ignore_what_only_a_batch_system_has(
    values: dict[str, object],
) -> None:
    [problem] = problems(Site(scheduler="local", **values))  # type: ignore[arg-type]

    assert "scheduler: slurm" in problem.text


def test_one_error_names_every_problem_and_where_it_was_written() -> None:
    site = batch(cores_per_command=9, scratch="here")

    with pytest.raises(UsageError) as refusal:
        validate(site, {"cores-per-command": "site.yaml:7", "cores": "--cores"})

    too_many, not_absolute = refusal.value.why.splitlines()

    assert too_many.startswith("site.yaml:7, --cores: cores-per-command, cores: a command with 9")
    assert not_absolute.startswith("scratch: 'here' is not absolute; write a whole path")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 8),
        ({"cores_per_command": 3}, 2),
        ({"memory_per_command": 3 * GIB}, 5),
        ({"memory_per_command": GIB}, 8),
        ({"cores_per_command": 2, "memory_per_command": 16 * GIB}, 1),
    ],
)
def test_slots_are_what_cores_and_memory_hold(values: dict[str, object], expected: int) -> None:
    assert slots(batch(**values)) == expected


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"cores_per_command": 9}, "cores-per-command"),
        ({"memory_per_command": 17 * GIB}, "memory-per-command"),
        ({"cores": None}, "cores"),
    ],
)
def test_an_allocation_without_a_slot_is_refused(values: dict[str, object], key: str) -> None:
    with pytest.raises(UsageError) as refusal:
        slots(batch(**values))

    assert key in str(refusal.value)


def test_ten_allocations_are_asked_for_where_nobody_said_how_many() -> None:
    assert (default_workers("slurm"), default_workers("local")) == (10, 1)


def test_what_fsl_and_modules_need_is_passed_on_and_secrets_are_not() -> None:
    names = ["FSLDIR", "PATH", "AWS_SECRET", "BASH_FUNC_module%%", "ANTSPATH", "LC_ALL"]

    passed = passed_names(batch(environment=("ANTS*",)), names)

    assert passed == ("ANTSPATH", "BASH_FUNC_module%%", "FSLDIR", "LC_ALL", "PATH")


def test_keys_are_the_fields_as_site_files_write_them() -> None:
    assert KEYS[:2] == ("scheduler", "queue")
    assert "memory-per-command" in KEYS


def test_a_site_survives_being_written_down() -> None:
    site = batch(ports=(40000, 40100), setup=("module load fsl",))

    assert msgspec.json.decode(msgspec.json.encode(site), type=Site) == site
