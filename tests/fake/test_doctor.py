"""`doctor` end to end on a fake SLURM: one fault at a time, one clear line and an exit code."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import processes
from tests.local.conftest import leaving_nothing
from tests.local.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake.fake_slurm import FakeSlurm

SITE = """\
scheduler: slurm
cores: 2
memory: 1G
walltime: 01:00:00
workers: 2
"""

#: What scontrol says of a cluster that fits; as tests/golden/slurm has it from a real one.
PARTITIONS = (
    "PartitionName=normal Default=YES AllowAccounts=ALL MaxTime=12:00:00 MaxNodes=UNLIMITED"
    " RootOnly=NO State=UP\n"
    "PartitionName=short Default=NO AllowAccounts=ALL MaxTime=00:30:00 RootOnly=NO State=UP\n"
)
NODES = "NodeName=fake1 CPUTot=8 RealMemory=4000 State=IDLE Partitions=normal,short\n"
RESERVATIONS = "No reservations in the system\n"


class Clinic:
    """The program, a fake SLURM with a scontrol, and a site file to edit."""

    def __init__(self, program: Program, fake: FakeSlurm) -> None:
        self.program = program
        self.fake = fake
        self.site = program.folder / "tbss-hpc.yaml"
        self.site.write_text(SITE)
        del program.environment["TBSS_HPC_SITE"]
        for name, text in (
            ("partition", PARTITIONS),
            ("node", NODES),
            ("reservation", RESERVATIONS),
        ):
            (fake.programs / f"{name}.txt").write_text(text)
        # Its last argument names what is to be shown.
        self.write_program("scontrol", f'for last; do :; done; cat "{fake.programs}/$last.txt"')

    def write_program(self, name: str, *lines: str) -> None:
        """Put a program of ours where the fake's are, in place of one that is there."""
        path = self.fake.programs / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)

    def change_scripts(self, expression: str) -> None:
        """Have every script changed by sed on its way to the node."""
        shutil.move(self.fake.programs / "sbatch", self.fake.programs / "real-sbatch")
        edit = f"sed -i '{expression}' \"$last\""
        own = f'exec "{self.fake.programs}/real-sbatch" "$@"'
        self.write_program("sbatch", "for last; do :; done", f'[ ! -f "$last" ] || {edit}', own)

    def examine(self, *words: str, code: int) -> list[dict[str, Any]]:
        """Let doctor look; give what it found."""
        answer = self.program("doctor", "--json", *words)
        assert answer.code == code, answer.out + answer.err
        found: list[dict[str, Any]] = json.loads(answer.out)
        # SLURM has said yes to scancel, and is still ending it.
        assert processes.until(lambda: not self.fake.queue), self.fake.queue
        assert not list(self.program.folder.rglob(".doctor-*"))
        return found

    def only_cross(self, *words: str, code: int) -> dict[str, Any]:
        """Let doctor look; give the one thing that is to be mended."""
        found = self.examine(*words, code=code)
        crosses = [finding for finding in found if finding["mark"] == "bad"]
        assert len(crosses) == 1, crosses
        assert crosses[0]["fix"]
        return crosses[0]


@pytest.fixture
def clinic(fake_slurm: FakeSlurm, tmp_path: Path) -> Iterator[Clinic]:
    folder = tmp_path / "patient"
    folder.mkdir()
    with leaving_nothing(folder) as program:
        yield Clinic(program, fake_slurm)


def test_a_healthy_cluster_gets_no_cross(clinic: Clinic) -> None:
    found = clinic.examine(code=0)

    said = " ".join(finding["what"] for finding in found)
    for words in ("Queue normal", "the worker loads in", "same files", "is reached", "clock"):
        assert words in said
    assert "bad" not in {finding["mark"] for finding in found}
    assert len(clinic.fake.jobs) == 1
    assert clinic.fake.jobs[0].cpus == 1
    assert clinic.fake.jobs[0].limit_seconds == 300
    assert not (clinic.program.folder / "tbss-hpc-runs").exists()


def test_text_has_marks_and_says_what_is_waited_for(clinic: Clinic) -> None:
    answer = clinic.program("doctor")

    assert answer.code == 0, answer.out
    assert "✓ Queue normal is there and is up." in answer.out
    assert "… probe 77 was submitted; waiting up to 5 min for it" in answer.err
    assert answer.out.rstrip().splitlines()[-1].startswith("Nothing stands in the way of a run")


def test_a_missing_sbatch_is_told(clinic: Clinic) -> None:
    clinic.program.environment["PATH"] = str(clinic.program.home)

    cross = clinic.only_cross(code=3)

    assert cross["what"].startswith("There is no sbatch, squeue, scancel here")


def test_a_slurm_that_does_not_answer_is_told_in_its_words(clinic: Clinic) -> None:
    clinic.fake.fail_queries()

    cross = clinic.only_cross(code=3)

    assert cross["what"] == "SLURM does not answer."
    assert "Unable to contact slurm controller" in cross["why"]


def test_an_unknown_queue_is_told_and_no_probe_sent(clinic: Clinic) -> None:
    clinic.site.write_text(SITE + "queue: nope\n")

    cross = clinic.only_cross(code=3)

    assert cross["what"] == "There is no queue called nope."
    assert "normal, short" in cross["why"]
    assert clinic.fake.jobs == []


def test_a_walltime_above_the_limit_is_told_with_what_would_do(clinic: Clinic) -> None:
    clinic.site.write_text(SITE + "queue: short\n")

    cross = clinic.only_cross("--no-probe", code=3)

    assert "1 h is more than queue short allows: 30 min" in cross["what"]
    assert "`walltime: 00:30:00`" in cross["fix"]
    assert "normal" in cross["fix"]


def test_limits_that_cannot_be_asked_are_no_cross(clinic: Clinic) -> None:
    clinic.write_program("scontrol", "echo not today >&2; exit 1")

    found = clinic.examine(code=0)

    (said,) = (finding["what"] for finding in found if finding["why"] == "not today")
    assert said == "Limits of the queue cannot be asked."


def test_a_refused_probe_is_told_in_slurms_words(clinic: Clinic) -> None:
    clinic.fake.refuse(message="sbatch: error: Invalid account or account/partition combination\n")

    cross = clinic.only_cross(code=3)

    assert cross["what"] == "SLURM refused the probe."
    assert "Invalid account" in cross["why"]
    assert "`account`" in cross["fix"]


def test_a_probe_whose_acceptance_was_lost_is_not_left_behind(clinic: Clinic) -> None:
    clinic.fake.hold()
    clinic.fake.lose_replies()

    cross = clinic.only_cross(code=3)

    assert "timed out" in cross["why"]
    assert [job.state for job in clinic.fake.jobs] == ["CANCELLED"]


def test_a_probe_that_never_starts_is_told_and_cancelled(clinic: Clinic) -> None:
    clinic.fake.hold("AssocGrpCpuLimit")

    cross = clinic.only_cross("--patience", "3 s", code=3)

    assert cross["what"] == "The probe did not start within 3 s."
    assert "AssocGrpCpuLimit" in cross["why"]
    assert [job.state for job in clinic.fake.jobs] == ["CANCELLED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_doctor_also_ends_its_probe(clinic: Clinic, number: signal.Signals) -> None:
    clinic.fake.hold()
    with clinic.program.start("doctor") as doctor:
        assert processes.until(lambda: clinic.fake.queue)
        doctor.send_signal(number)
        doctor.communicate(timeout=processes.PATIENCE_SECONDS)

    assert doctor.returncode == 130
    assert processes.until(lambda: not clinic.fake.queue)
    assert not list(clinic.program.folder.rglob(".doctor-*"))


def test_a_virtual_environment_that_nodes_do_not_see_is_told(clinic: Clinic) -> None:
    clinic.change_scripts("s#^exec [^ ]*#exec /nowhere/bin/python#")

    cross = clinic.only_cross(code=3)

    assert cross["what"] == "The probe ended on its node without an answer."
    assert "/nowhere/bin/python" in cross["why"]
    assert "the node does not see this virtual environment" in cross["fix"]


def test_set_up_lines_that_fail_are_told(clinic: Clinic) -> None:
    clinic.site.write_text(f"{SITE}setup:\n  - echo no module fsl >&2\n  - 'false'\n")

    cross = clinic.only_cross(code=3)

    assert "`setup` does not work" in cross["what"]
    assert "no module fsl" in cross["why"]


def test_a_scratch_folder_that_is_not_there_is_told(clinic: Clinic) -> None:
    clinic.site.write_text(SITE + "scratch: /nowhere/tmp\n")

    assert "cannot be written to /nowhere/tmp" in clinic.only_cross(code=3)["what"]


def test_a_node_without_a_network_is_told(clinic: Clinic) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode:
        pytest.skip("This machine does not let us take the network from a process (unshare -rn).")
    clinic.change_scripts(f"s#^exec #exec {unshare} -rn #")

    cross = clinic.only_cross(code=3)

    assert "cannot reach this host at" in cross["what"]
    assert "a firewall may be between" in cross["fix"]


def test_ports_that_are_all_taken_are_told(clinic: Clinic) -> None:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        port = holder.getsockname()[1]
        clinic.site.write_text(f"{SITE}ports: {port}-{port}\n")

        cross = clinic.only_cross(code=3)

    assert cross["what"] == "No port is free for the controller."


def test_an_interface_that_this_host_lacks_is_told(clinic: Clinic) -> None:
    clinic.site.write_text(SITE + "interface: ib7\n")

    cross = clinic.only_cross(code=3)

    assert cross["what"] == "This host has no network interface ib7."
    assert "lo: 127.0.0.1" in cross["why"]


def test_a_wrong_site_file_is_told_with_its_line(clinic: Clinic) -> None:
    clinic.site.write_text(SITE + "qeue: short\n")

    cross = clinic.only_cross(code=2)

    assert "tbss-hpc.yaml:6" in cross["why"]


def test_a_place_for_runs_that_cannot_be_made_is_told(clinic: Clinic) -> None:
    clinic.program.write("file", "")

    cross = clinic.only_cross("--runs", "file/runs", code=5)

    assert cross["what"] == "No folder can be made for runs."


def test_this_machine_is_looked_at_without_a_batch_system(clinic: Clinic) -> None:
    found = clinic.examine("--scheduler", "local", code=0)

    said = " ".join(finding["what"] for finding in found)
    assert "the worker loads in" in said
    assert "clock" not in said
    assert clinic.fake.jobs == []
