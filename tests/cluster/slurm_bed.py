"""A SLURM cluster of virtual nodes on one Debian machine, for tests that need the real thing.

    python3 tests/cluster/slurm_bed.py VERB

    up              start it, and wait until every node is idle
    env             print what makes sbatch, squeue, scancel and scontrol find it, for `eval`
    fail NODE       cut the power of a node (--noticed: and tell SLURM at once)
    restore NODE    give it back
    down            cut the power of everything, and remove the folder
    hold            up until standard input ends, then down

Needs root and `apt-get install slurm-wlm munge`; listens on loopback only. Several can be up at
once: each has a --folder, with ports and node names of its own. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":  # run as a file, Python finds only what lies beside it
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Below the ports that the kernel hands out to outgoing connections.
PORTS = range(15000, 32000)

DEFAULT_FOLDER = Path("/tmp/tbss-hpc-slurm")  # noqa: S108 - short and well known on purpose

#: States, in `sinfo`'s long form, of a node that takes or runs jobs.
IN_SERVICE = {"idle", "mixed", "allocated", "completing"}

CONFIGURATION = """\
# Written by tests/cluster/slurm_bed.py.
ClusterName=bed{port}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={port}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/run/%n.pid
SlurmdLogFile={folder}/log/%n.log
SlurmdSpoolDir={folder}/spool/%n
# More CPUs and memory than the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
# "cgroup" ends everything a job started, as on most clusters; "pgid" misses what called setsid.
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# Start at once what can start.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=1,bf_interval=1
PriorityType=priority/basic
# Notice at once what broke, and end quickly what has to end.
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=10
TCPTimeout=2
KillWait=4
OverTimeLimit=0
CompleteWait=0
ReturnToService=2
JobRequeue=1
# How long `scontrol show job` knows a job that ended.
MinJobAge=60
{nodes}
PartitionName=short Nodes=ALL Default=YES MaxTime=5 DefaultTime=2 State=UP
PartitionName=long Nodes=ALL MaxTime=UNLIMITED DefaultTime=60 State=UP
"""

NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
    " CPUs={cpus} RealMemory={memory} State=UNKNOWN"
)


class BedError(Exception):
    """The test bed cannot do what was asked; the text says why."""


@dataclass(frozen=True)
class Shape:
    """How large a cluster to pretend."""

    nodes: int = 4
    cpus: int = 8  #: of each node
    memory_megabytes: int = 4000  #: of each node


class QueueRow(NamedTuple):
    """A job as `squeue` shows it."""

    id: str
    state: str
    reason: str
    node: str  #: empty while it is pending
    user: str
    name: str


def obstacle() -> str | None:
    """Say in a sentence why no bed can be brought up here; None when it can."""
    if os.geteuid() != 0:
        return "The SLURM test bed needs root to start its daemons."
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    if not all(shutil.which(name, path=search) for name in ("slurmctld", "slurmd", "munged")):
        return "SLURM is not installed: apt-get install slurm-wlm munge"
    return None


class SlurmBed:
    """One cluster, known by its folder; every method works from any process."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched before `up`."""
        self.folder = folder.absolute()
        self.configuration = self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need in their environment to find this cluster."""
        return {"SLURM_CONF": str(self.configuration)}

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes; no two beds share one."""
        if not self.configuration.exists():
            return []
        return re.findall(r"^NodeName=(\S+)", self.configuration.read_text(), re.MULTILINE)

    # -- what a bed is asked to do --------------------------------------------------------------

    def up(self, shape: Shape | None = None) -> None:
        """Start whatever does not run, and wait until every node is in service."""
        if reason := obstacle():
            raise BedError(reason)
        if not self.configuration.exists():
            self._configure(shape or Shape())
        self._start_munge()
        if not self._daemon("slurmctld"):
            self._start(["slurmctld"])
        for node in self.nodes:
            self._start_node(node)
        self._wait(self._controller_answers, "slurmctld answers")
        for node in self.nodes:
            self._return_to_service(node)

    def down(self) -> None:
        """Kill every process of the cluster, jobs included, and remove the folder."""
        for node in self.nodes:
            self._power_off(node)
        for name in ("slurmctld", "munged"):
            self._stop(name)
        self._remove_cgroups()
        if self.configuration.exists():
            shutil.rmtree(self.folder)

    def fail(self, node: str, *, noticed: bool = False) -> None:
        """Cut the power of a node.

        noticed -- SLURM knows at once; otherwise it finds out after about 25 seconds.
        """
        self._known(node)
        self._power_off(node)
        if noticed:
            self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def restore(self, node: str) -> None:
        """Give a node its power back, and wait until it takes jobs."""
        self._known(node)
        # Sockets of job steps that died with the node; slurmd would wait for them.
        for socket_file in (self.folder / "spool" / node).glob(f"{node}_*"):
            socket_file.unlink()
        self._start_node(node)
        self._return_to_service(node)

    def clear(self) -> None:
        """Cancel every job and restore every node, so that the next test finds an idle cluster."""
        for node in self.nodes:
            if not self._daemon("slurmd", node) or node not in self._in_service():
                self.restore(node)
        if jobs := [row.id for row in self.squeue()]:
            self.run("scancel", *jobs)
        self._wait(lambda: not self.squeue(), "the queue is empty")

    def run(self, *argv: str) -> str:
        """Run one of SLURM's commands as root and give what it printed."""
        reply = subprocess.run(
            argv, env=self._environment(), capture_output=True, text=True, timeout=60, check=False
        )
        if reply.returncode != 0:
            message = f"{' '.join(argv)}: exit code {reply.returncode}: {reply.stderr.strip()}"
            raise BedError(message)
        return reply.stdout

    def squeue(self) -> list[QueueRow]:
        """List the jobs that are pending, running or ending."""
        lines = self.run("squeue", "--noheader", "--all", "--format=%i|%T|%r|%N|%u|%j")
        return [QueueRow(*line.split("|", maxsplit=5)) for line in lines.splitlines()]

    # -- configuration --------------------------------------------------------------------------

    def _configure(self, shape: Shape) -> None:
        for name in ("run", "log", "state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        # Everybody's sbatch reads slurm.conf and talks to munge.
        for path in (self.folder, self.folder / "munge"):
            path.chmod(0o755)
        cgroup = "CgroupMountpoint=/sys/fs/cgroup\nCgroupPlugin=cgroup/v1\n"
        (self.folder / "cgroup.conf").write_text(cgroup)
        self.configuration.write_text(_configuration(self.folder, shape))

    def _environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        return {**kept, **self.environment, "PATH": path}

    def _known(self, node: str) -> None:
        if node not in self.nodes:
            message = f"There is no node {node!r}; there are {', '.join(self.nodes) or 'none'}."
            raise BedError(message)

    # -- daemons --------------------------------------------------------------------------------

    def _start(self, argv: Sequence[str], user: str | None = None) -> None:
        # A file and not a pipe: a daemon keeps what it inherits, and a pipe would never end.
        with (self.folder / "log" / "start.log").open("ab") as log:
            code = subprocess.run(
                argv,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                timeout=processes.PATIENCE_SECONDS,
                check=False,
            ).returncode
        if code != 0:
            message = f"{argv[0]} did not start (exit code {code}).\n{self._last_words()}"
            raise BedError(message)

    def _start_munge(self) -> None:
        """Start a munged with a key of our own; it insists on owning its folder."""
        folder = self.folder / "munge"
        if self._daemon("munged"):
            return
        owner = pwd.getpwnam("munge")
        key = folder / "key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(secrets.token_bytes(128))
        for path in (folder, key):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        files = {"socket": "socket", "key": "key-file", "pid": "pid-file", "log": "log-file"}
        options = [f"--{option}={folder / name}" for name, option in files.items()]
        self._start(["munged", *options, f"--seed-file={folder / 'seed'}"], user="munge")
        self._wait((folder / "socket").is_socket, "munged listens")

    def _start_node(self, node: str) -> None:
        (self.folder / "spool" / node).mkdir(exist_ok=True)
        if not self._daemon("slurmd", node):
            self._start(["slurmd", "-N", node])

    def _return_to_service(self, node: str) -> None:
        def in_service() -> bool:
            if node in self._in_service():
                return True
            # Down, until slurmd has registered: SLURM refuses this while there is nothing to do.
            self._try("scontrol", "update", f"nodename={node}", "state=resume")
            return False

        self._wait(in_service, f"{node} is in service")

    def _in_service(self) -> set[str]:
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        pairs = [line.split() for line in lines]
        # A star behind the state: SLURM has not heard of the node for a while.
        return {name for name, state in pairs if state in IN_SERVICE}

    def _try(self, *argv: str) -> bool:
        try:
            self.run(*argv)
        except BedError:
            return False
        return True

    def _controller_answers(self) -> bool:
        return self._try("scontrol", "ping")

    def _daemon(self, name: str, node: str = "") -> int | None:
        """Give the process id of a daemon of this bed that is alive."""
        folder = self.folder / ("munge" if name == "munged" else "run")
        file = folder / ("pid" if name == "munged" else f"{node or name}.pid")
        text = file.read_text().strip() if file.exists() else ""
        if not text.isdigit() or not processes.alive(int(text)):
            return None
        ours = f"SLURM_CONF={self.configuration}" in processes.environment(int(text))
        return int(text) if ours and name in processes.command_line(int(text)) else None

    def _stop(self, name: str) -> None:
        pid = self._daemon(name)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        if not processes.until(lambda: not processes.alive(pid), 10):
            os.kill(pid, signal.SIGKILL)

    # -- power ----------------------------------------------------------------------------------

    def _power_off(self, node: str) -> None:
        if not processes.kill_all(lambda: self._processes_of(node)):
            message = f"Processes of {node} cannot be killed."
            raise BedError(message)

    def _processes_of(self, node: str) -> Iterator[int]:
        log = str(self.folder / "log" / f"{node}.log")
        if pid := self._daemon("slurmd", node):
            yield pid
        for pid in processes.living():
            # A step daemon's title names the job only; but it keeps its slurmd's log open.
            title = processes.command_line(pid)
            is_step = title.startswith("slurmstepd: ") and log in processes.open_files(pid)
            if is_step or f"SLURMD_NODENAME={node}" in processes.environment(pid):
                yield pid

    def _remove_cgroups(self) -> None:
        for node in self.nodes:
            top = Path("/sys/fs/cgroup/freezer") / f"slurm_{node}"
            for folder in sorted(top.rglob("*/"), reverse=True) if top.exists() else []:
                folder.rmdir()
            if top.exists():
                top.rmdir()

    # -- waiting --------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        if not processes.until(condition):
            waited = f"Waited {processes.PATIENCE_SECONDS:g} s in vain until {what}."
            raise BedError(waited + "\n" + self._last_words())

    def _last_words(self) -> str:
        logs = [*(self.folder / "log").glob("*.log"), self.folder / "munge" / "log"]
        lines = [
            f"{log.name}: {line}"
            for log in logs
            if log.exists()
            for line in log.read_text(errors="replace").splitlines()[-5:]
        ]
        return "\n".join(lines)


def _configuration(folder: Path, shape: Shape) -> str:
    host = socket.gethostname().partition(".")[0]
    port = _free_ports(1 + shape.nodes)
    nodes = [
        # SLURM's freezer groups are named after the node: two beds must not share a name.
        NODE.format(
            name=f"bed{port}n{number}",
            host=host,
            port=port + number,
            cpus=shape.cpus,
            memory=shape.memory_megabytes,
        )
        for number in range(1, shape.nodes + 1)
    ]
    # SLURM's own support for version 2 of the control groups wants systemd.
    freezer = os.access("/sys/fs/cgroup/freezer/tasks", os.W_OK)
    return CONFIGURATION.format(
        folder=folder,
        host=host,
        port=port,
        nodes="\n".join(nodes),
        proctrack="cgroup" if freezer else "pgid",
    )


def _free_ports(count: int) -> int:
    """Find so many free ports in a row, at a place where another bed hardly looks too."""
    for _ in range(1000):
        first = random.randrange(PORTS.start, PORTS.stop - count)  # noqa: S311 - no secret
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    message = f"No {count} free ports in a row between {PORTS.start} and {PORTS.stop}."
    raise BedError(message)


def hold(bed: SlurmBed) -> None:
    """Keep a bed up until standard input ends; so it cannot outlive who opened the other end."""
    # As a test run is interrupted or killed, this still takes the bed down.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        bed.up()
        say("up")
        sys.stdin.read()
    finally:
        bed.down()


def say(*lines: str) -> None:
    """Tell the caller at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, default=DEFAULT_FOLDER)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in ("up", "down", "env", "hold", "fail", "restore"):
        verbs.add_parser(verb, parents=[common])
    for verb in ("fail", "restore"):
        verbs.choices[verb].add_argument("node")
    verbs.choices["fail"].add_argument("--noticed", action="store_true")
    for name, value in vars(Shape()).items():
        option = f"--{name.replace('_', '-')}"
        verbs.choices["up"].add_argument(option, type=int, default=value)
    return parser.parse_args()


def act(given: argparse.Namespace) -> None:
    """Do what the command line asks."""
    bed = SlurmBed(given.folder)
    match given.verb:
        case "up":
            bed.up(Shape(given.nodes, given.cpus, given.memory_megabytes))
            say(f"Up: {', '.join(bed.nodes)}; folder {bed.folder}")
        case "down":
            bed.down()
        case "hold":
            hold(bed)
        case "fail":
            bed.fail(given.node, noticed=given.noticed)
        case "restore":
            bed.restore(given.node)
        case "env":
            say(*(f"export {name}={value}" for name, value in bed.environment.items()))


def main() -> None:
    """Run as a program; exit code 1 and a sentence when the bed cannot do it."""
    try:
        act(arguments())
    except BedError as error:
        sys.exit(f"slurm_bed: {error}")


if __name__ == "__main__":
    main()
