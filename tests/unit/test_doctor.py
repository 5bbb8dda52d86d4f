"""What a probe's answer means, how findings are shown, and what is said over the network."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tbss_hpc.app.doctor_ears import Ears, call_back
from tbss_hpc.core.diagnosis import Expected, Way, node_findings
from tbss_hpc.core.finding import About, Finding, Mark, bad, exit_code_of, good, skipped, unknown
from tbss_hpc.core.probe import Answer, Call, Question
from tbss_hpc.core.room import Room, read_quotas, size_in_words
from tbss_hpc.core.site import Site
from tbss_hpc.errors import ExitCode
from tbss_hpc.report.findings import finding_lines, verdict_line
from tbss_hpc.store.network import addresses
from tbss_hpc.worker.probe_network import Ear, call

SITE = Site(scheduler="slurm", cores=4, memory=8 << 30, walltime=3600.0)
REACHED = Call("eth0", "10.0.0.1", 4000, "10.0.0.9", "")
UNREACHED = Call("eth0", "10.0.0.1", 4000, "", "timed out")
FSL = "/opt/fsl/bin/fsl_reg"

HEALTHY = Answer(
    token="t",  # noqa: S106 - no password
    stage="",
    version="1.0",
    python="3.11.2",
    node="n1",
    clock=0.0,
    addresses={"lo": "127.0.0.1", "eth0": "10.0.0.9", "ib0": "10.9.0.9"},
    listening=5000,
    calls=(REACHED,),
    files={"/study/a": 7},
    scratch="/tmp",  # noqa: S108 - only a name here
    scratch_free=1 << 40,
    load_seconds=1.0,
    fsldir="/opt/fsl",
    programs={FSL: True},
)
NEAR = Way(0.1, ("10.0.0.9", ""))


def healthy_but(**changes: object) -> Answer:
    return msgspec.structs.replace(HEALTHY, **changes)


def findings(answer: Answer = HEALTHY, site: Site = SITE, way: Way = NEAR) -> list[Finding]:
    expected = Expected(site, "1.0", {"/study/a": 7}, FSL, needs_fsl=True)
    return list(node_findings(expected, answer, way))


def only_cross(found: list[Finding]) -> Finding:
    (cross,) = [finding for finding in found if finding.mark is Mark.BAD]
    assert exit_code_of(found) is ExitCode.CLUSTER
    return cross


# -- what an answer means -----------------------------------------------------------------------


def test_a_healthy_node_gets_ticks() -> None:
    assert {finding.mark for finding in findings()} == {Mark.GOOD}


@pytest.mark.parametrize(
    ("changes", "words", "fix"),
    [
        ({"version": "0.9"}, "n1 has another tbss-hpc: 0.9", "one virtual environment"),
        ({"load_error": "a\nImportError: x"}, "cannot be loaded", "virtual environment again"),
        ({"files": {"/study/a": -1}}, "read and write the same files", "nodes share"),
        ({"files": {"/study/a": 8}}, "read and write the same files", "nodes share"),
        ({"folders": {"/study": "Read-only"}}, "read and write the same files", "may write"),
        ({"scratch_error": "No such file"}, "Temporary files cannot be written", "`scratch`"),
        ({"scratch_free": 1 << 20}, "Only 1.0 MB are free", "`scratch`"),
        ({"setup_error": "module: not found"}, "`setup` does not work", "mend `setup`"),
        ({"programs": {FSL: False}, "fsldir": ""}, "FSL is not there", "`setup`"),
        ({"listening": 0, "listening_error": "in use"}, "No port of n1 is free", "`ports`"),
    ],
)
def test_each_fault_gets_its_cross_and_its_fix(
    changes: dict[str, object], words: str, fix: str
) -> None:
    crosses = [finding for finding in findings(healthy_but(**changes)) if finding.mark is Mark.BAD]

    assert any(words in cross.what and fix in cross.fix for cross in crosses), crosses


@pytest.mark.parametrize(
    ("ahead", "side"), [(7200.0, "2 h ahead of"), (-90.0, "1 min 30 s behind")]
)
def test_a_clock_that_differs_is_told(ahead: float, side: str) -> None:
    cross = only_cross(findings(way=Way(ahead, NEAR.called_back)))

    assert cross.what == f"The clock of n1 is {side} ours."


def test_a_clock_that_was_not_heard_is_not_judged() -> None:
    found = findings(way=Way(None, NEAR.called_back))

    assert [finding.mark for finding in found].count(Mark.UNKNOWN) == 1
    assert exit_code_of(found) is ExitCode.DONE


def test_another_interface_is_suggested_where_one_works() -> None:
    other = Call("ib0", "10.9.0.1", 4001, "10.9.0.9", "")

    cross = only_cross(findings(healthy_but(calls=(UNREACHED, other))))

    assert "cannot reach this host at 10.0.0.1 (eth0)" in cross.what
    assert cross.fix == "set `interface: ib0` in the site file"
    assert "ib0 10.9.0.1:4001: reached" in cross.why


def test_a_firewall_is_suspected_where_no_way_works() -> None:
    cross = only_cross(findings(healthy_but(calls=(UNREACHED,))))

    assert "a firewall may be between" in cross.fix
    assert "`ports`" in cross.fix


def test_an_interface_that_the_node_lacks_is_told() -> None:
    site = msgspec.structs.replace(SITE, interface="ib7")

    assert "n1 has no network interface ib7" in only_cross(findings(site=site)).what


def test_a_node_that_cannot_be_called_is_told() -> None:
    cross = only_cross(findings(way=Way(0.0, ("10.0.0.9", "timed out"))))

    assert "is not reached itself at 10.0.0.9:5000" in cross.what


def test_a_probe_that_got_stuck_says_what_it_knew() -> None:
    found = findings(healthy_but(stage="running the set-up lines", fsldir=None, programs={}))

    assert {finding.mark for finding in found} == {Mark.GOOD}
    assert not any("FSL" in finding.what for finding in found)


# -- how it is shown ----------------------------------------------------------------------------


def test_a_finding_is_a_mark_a_sentence_the_evidence_and_what_to_do() -> None:
    shown = finding_lines(bad(About.SITE, "It is so.", why="one\ntwo", fix="mend it"))

    assert shown == ["✗ It is so.", "    why   one", "          two", "    fix   mend it"]


def test_the_first_cross_decides_the_exit_code() -> None:
    found = [
        good(About.FILES, "a"),
        unknown(About.SITE, "b"),
        bad(About.FILES, "c"),
        bad(About.CLUSTER, "d"),
    ]

    assert exit_code_of(found) is ExitCode.FILES
    assert exit_code_of(found[:2]) is ExitCode.DONE


def test_the_last_line_sums_up() -> None:
    quiet = [good(About.SITE, "a"), unknown(About.SITE, "b"), skipped(About.SITE, "c")]
    loud = [bad(About.SITE, "a"), bad(About.SITE, "b")]

    assert verdict_line(quiet).endswith("(1 could not be known, 1 not looked at).")
    assert verdict_line(loud[:1]).startswith("1 thing is to be mended")
    assert verdict_line(loud).startswith("2 things are to be mended")


# -- room ---------------------------------------------------------------------------------------


def test_quotas_are_read_as_quota_tells_them() -> None:
    said = (
        "Disk quotas for user me (uid 1000): \n"
        "     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace\n"
        "/dev/sda1        900*     800     1000   1795880451   50    0       0       0\n"
        "nfs:/home         10        0        0       0       90    80     100       0\n"
    )

    disk, home = read_quotas(said)

    assert (disk.file_system, disk.left) == ("/dev/sda1", Room(100 << 10, None))
    assert (home.file_system, home.left) == ("nfs:/home", Room(None, 10))


def test_quotas_are_read_as_lustre_tells_them() -> None:
    (found,) = read_quotas("  /lustre  [12]  100  200  -  7  0  10  -\n")

    assert found.left == Room(188 << 10, 3)


@pytest.mark.parametrize(
    ("size", "words"),
    [(12, "12 bytes"), (1_234_000, "1.2 MB"), (82e9, "82 GB"), (5e15, "5000.0 TB")],
)
def test_sizes_are_told_as_people_read_them(size: float, words: str) -> None:
    assert size_in_words(size) == words


# -- over the network ---------------------------------------------------------------------------


def test_a_node_whose_clock_is_ahead_is_heard_so() -> None:
    async def listen_and_be_called() -> float | None:
        ears = Ears("token")
        await ears.open([("lo", "127.0.0.1")], None)
        (endpoint,) = ears.endpoints
        reader, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
        writer.write(f"token {time.time() + 5000}\n".encode())
        assert await reader.readline() == b"token\n"
        writer.close()
        ears.close()
        return ears.clock_ahead

    ahead = asyncio.run(listen_and_be_called())

    assert ahead is not None
    assert 4900 < ahead <= 5000


def test_a_stranger_is_neither_answered_nor_believed() -> None:
    async def listen_and_be_called() -> tuple[bytes, float | None]:
        ears = Ears("token")
        await ears.open([("lo", "127.0.0.1")], None)
        reader, writer = await asyncio.open_connection("127.0.0.1", ears.endpoints[0].port)
        writer.write(b"guess 0\n")
        said = await reader.read()
        writer.close()
        ears.close()
        return said, ears.clock_ahead

    assert asyncio.run(listen_and_be_called()) == (b"", None)


def test_node_and_controller_call_each_other() -> None:
    async def both_ways() -> tuple[dict[str, object], str, str]:
        ears, ear = Ears("token"), Ear(None, "token")
        await ears.open([("lo", "127.0.0.1")], None)
        called = await asyncio.to_thread(call, msgspec.structs.asdict(ears.endpoints[0]), "token")
        strange = await call_back("127.0.0.1", ear.port, "guess")
        back = await call_back("127.0.0.1", ear.port, "token")
        ears.close()
        return called, strange, back

    called, strange, back = asyncio.run(both_ways())

    assert (called["error"], called["came_from"]) == ("", "127.0.0.1")
    assert strange == "somebody else answers there"
    assert back == ""


def test_a_closed_port_is_told_in_the_kernels_words() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        called = call({"interface": "lo", "address": "127.0.0.1", "port": port}, "t")
        back = asyncio.run(call_back("127.0.0.1", port, "t"))

    assert called["error"] == back
    assert "refused" in back


def test_a_port_range_that_is_taken_is_told() -> None:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ear = Ear((port, port), "t")

    assert ear.port == 0
    assert "in use" in ear.error


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_kernel_tells_the_addresses() -> None:
    assert addresses()["lo"] == "127.0.0.1"


# -- the probe itself ---------------------------------------------------------------------------


def ask_probe(folder: Path, **changes: object) -> Answer:
    """Run the probe as an allocation does; nobody calls it back, so we end it when it is done."""
    usual = Question("t", (), None, (), (), (), {}, (), str(folder))
    question = msgspec.structs.replace(usual, **changes)
    file, into = folder / "question.json", folder / "answer.json"
    file.write_bytes(msgspec.json.encode(question))
    module = [sys.executable, "-I", "-m", "tbss_hpc.worker.probe"]
    with subprocess.Popen(
        [*module, "--question", str(file), "--into", str(into)], stdin=subprocess.DEVNULL
    ) as probe:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            if into.exists() and not json.loads(into.read_text())["stage"]:
                break
            time.sleep(0.05)
        probe.kill()
    # Strictly: what the probe writes by hand is what the types say.
    return msgspec.json.decode(into.read_bytes(), type=Answer)


def test_the_probe_answers_in_the_types_that_are_expected(tmp_path: Path) -> None:
    fsl = tmp_path / "fsl" / "bin" / "fsl_reg"
    fsl.parent.mkdir(parents=True)
    fsl.write_text("#!/bin/sh\n")
    fsl.chmod(0o755)

    answer = ask_probe(
        tmp_path,
        setup=(f"export FSLDIR={tmp_path}/fsl",),
        wrap=("env", "A=b"),
        programs=(str(fsl), "/nowhere/greedy"),
        files={str(fsl): 10, "/nowhere/a": 3},
        folders=(str(tmp_path), "/nowhere"),
    )

    assert (answer.stage, answer.token, answer.load_error) == ("", "t", "")
    assert answer.fsldir == f"{tmp_path}/fsl"
    assert answer.programs == {str(fsl): True, "/nowhere/greedy": False}
    assert answer.files == {str(fsl): 10, "/nowhere/a": -1}
    assert answer.folders[str(tmp_path)] == ""
    assert "No such file" in answer.folders["/nowhere"]
    assert answer.scratch_free > 0
    assert answer.listening > 0
    assert abs(answer.clock - time.time()) < 60
    assert re.fullmatch(r"3\.\d+\.\d+\S*", answer.python)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"setup": ("echo no such module >&2", "false")}, "no such module"),
        ({"wrap": ("/nowhere/apptainer", "exec")}, "No such file"),
        ({"wrap": ("sh", "-c", "echo no image; exit 3")}, "no image"),
    ],
)
def test_the_probe_says_why_commands_cannot_start(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    assert words in ask_probe(tmp_path, **changes).setup_error


def test_the_probe_needs_only_pythons_own_library() -> None:
    # What this installation of Python brings in by itself is not ours.
    new = loaded("import tbss_hpc.worker.probe") - loaded("pass")

    assert new - sys.stdlib_module_names == {"tbss_hpc"}


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    reply = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(reply.stdout.split())
