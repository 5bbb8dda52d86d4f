"""A simulated cluster that knows the truth: batch system, nodes, records, Dask, controllers.

It stands for everything around the machine, and does to it all that the real ones may do: jobs
refused, started late or killed; connections that break; workers that drain, rejoin and name what
they hold; controllers that die between any two lines of their journal, or that are stopped and go
on handing out what they had queued. A `BreachError` is raised as soon as a promise is broken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from tbss_hpc.core import actions, events
from tbss_hpc.core.actions import Action, Entry
from tbss_hpc.core.attempt import AttemptId, Report
from tbss_hpc.core.command import Command
from tbss_hpc.core.decide import Terms, decide
from tbss_hpc.core.events import Event
from tbss_hpc.core.ledger import Place, Verdict
from tbss_hpc.core.machine import Machine, replay, reports_first
from tbss_hpc.core.outcome import Cut, Failed, NotStarted, Outcome, Succeeded
from tbss_hpc.core.retry import RetryPolicy

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)

#: Makes the names of a run's allocations its own.
NAME = "abcde"


class BreachError(AssertionError):
    """A promise of the design was broken."""


def some_commands(count: int) -> list[Command]:
    return [
        Command(id=f"c{n:02}", line=n, name=f"L{n}", text=f"true {n}", folder="/data")
        for n in range(1, count + 1)
    ]


def state_of(machine: Machine) -> dict[str, object]:
    """Everything that a machine keeps, in order, to compare two of them."""
    state = {name: value for name, value in vars(machine).items() if name != "ledger"}
    ledger = {
        name: list(value.items()) if isinstance(value, dict) else value
        for name, value in vars(machine.ledger).items()
    }
    return state | ledger


@dataclass
class Dask:
    """The Dask scheduler of one controller; it may outlive the controller's will."""

    epoch: int
    queue: list[AttemptId] = field(default_factory=list)
    #: Where attempts were sent, until their report has arrived.
    placed: dict[AttemptId, str] = field(default_factory=dict)


@dataclass
class Node:
    """An allocation as it really is, and its worker."""

    name: str
    native_id: str
    slots: int
    queued: bool = True  #: not started by the batch system
    in_queue: bool = True  #: the batch system still shows it
    alive: bool = False
    opened: bool = False
    draining: bool = False
    epoch: int = 0  #: of the controller that the worker obeys
    dask: Dask | None = None  #: which it is connected to
    #: What was sent to it and has not entered; lost when the connection breaks.
    wire: list[tuple[AttemptId, int]] = field(default_factory=list)
    entered: dict[AttemptId, int] = field(default_factory=dict)  #: with the epoch of the order
    started: set[AttemptId] = field(default_factory=set)
    unsent: list[Report] = field(default_factory=list)
    records: list[AttemptId | Report | str] = field(default_factory=list)


@dataclass
class Controller:
    """A controller: the machine, what has arrived, and how far it has read the records."""

    machine: Machine
    dask: Dask
    inbox: list[Event] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)


class World:
    """The truth, and the controller that tries to know it."""

    def __init__(self, *, commands: int, allocations: int, slots: int) -> None:
        self.commands = some_commands(commands)
        self.policy = RetryPolicy(command_retries=2, infrastructure_retries=4)
        self.terms = Terms(allocations, slots, token=NAME, cores=slots)
        self.now = 1000.0
        self.epoch = 0
        self.journal: list[Entry] = []
        self.nodes: dict[str, Node] = {}
        self.late: list[str] = []  #: submissions that outlive the controller that made them
        self.controller: Controller | None = None
        self.stopped: list[Dask] = []  #: of controllers that are stopped, not dead
        self.refusing = False
        self.dead_on_start = False
        self.succeeded: set[str] = set()
        self.issued: Counter[str] = Counter()
        self.retries_asked = 0
        self.cancel_wanted = False

    # -- controllers ----------------------------------------------------------------------------

    def new_controller(self, asked: tuple[Event, ...] = ()) -> None:
        """Let the next controller take over, whether the last one is dead or only stopped."""
        self.epoch += 1
        machine = replay(self.commands, self.policy, self.journal)
        self.controller = controller = Controller(machine, Dask(self.epoch))
        opened = tuple(sorted(n.name for n in self.nodes.values() if n.opened))
        started = events.ControllerStarted(
            at=self.now, epoch=self.epoch, host="login", pid=1, version="1", opened=opened
        )
        controller.inbox = [started, *asked]
        self.cancel_wanted = machine.cancel_requested and machine.end is None
        self.round()

    def crash(self, *, stopped: bool = False) -> None:
        """End the controller; a stopped one leaves its Dask scheduler to its workers."""
        if self.controller is None:
            return
        self._compare_with_replay(self.controller.machine)
        if stopped:
            self.stopped.append(self.controller.dask)
        else:
            for node in self.nodes.values():
                if node.dask is self.controller.dask:
                    self._cut_off(node)
        self.controller = None

    def round(self, cut_after: int | None = None) -> None:
        """Let the controller take in what has arrived, decide, write and act.

        cut_after -- so many of the new entries, and of the actions, get out before it dies.
        """
        if self.controller is None:
            return
        controller, machine = self.controller, self.controller.machine
        arrived, controller.inbox = controller.inbox, []
        facts = reports_first(f for event in arrived for f in self._with_records(event))
        news = [fact for fact in facts if self._fold(machine, fact)]
        decided = decide(machine, self.terms, self.now)
        for action in decided:
            self._apply(machine, action)
        if again := decide(machine, self.terms, self.now):
            raise BreachError(f"asked again, it wants {again}")
        entries: list[Entry] = [*news, *decided]
        written = entries if cut_after is None else entries[:cut_after]
        self.journal += [_DECODER.decode(_ENCODER.encode(entry)) for entry in written]
        if len(written) < len(entries):
            self.controller = None
            self._lose_everybody(controller.dask)
            return
        carried_out = len(decided) if cut_after is None else cut_after - len(entries)
        for action in decided[:carried_out]:
            self._carry_out(controller, action)
        if cut_after is not None:
            # A submission may have been on its way when the controller died.
            last = decided[carried_out : carried_out + 1]
            self.late += [a.allocation for a in last if isinstance(a, actions.Submit)]
            self.crash()

    def _fold(self, machine: Machine, fact: Event) -> bool:
        if isinstance(fact, events.AttemptReported) and machine.settled_already(fact.report):
            return False
        if isinstance(fact, events.CancelRequested):
            self.cancel_wanted = True
        self._apply(machine, fact)
        return True

    def _apply(self, machine: Machine, entry: Entry) -> None:
        standings = machine.ledger.standings.values()
        before = {s.command.id: s.verdict for s in standings}
        machine.apply(entry)
        for standing in standings:
            self._check_verdict(before[standing.command.id], standing.verdict, entry)
            numbers = [r.attempt.number for r in standing.reports]
            if len(set(numbers)) < len(numbers):
                raise BreachError(f"an attempt was settled twice: {standing}")
        ledger = machine.ledger
        settled = sum(s.verdict is not None for s in standings)
        if settled + ledger.waiting + len(ledger.in_flight) != len(self.commands):
            raise BreachError("a command is in two places, or in none")

    @staticmethod
    def _check_verdict(before: Verdict | None, after: Verdict | None, entry: Entry) -> None:
        allowed = {
            Verdict.DONE: (),
            Verdict.FAILED: (events.RetryRequested,),
            Verdict.CANCELLED: (events.ControllerStarted,),
        }
        if before is not None and after is not before and not isinstance(entry, allowed[before]):
            raise BreachError(f"{entry} turned {before} into {after}")

    def _compare_with_replay(self, machine: Machine) -> None:
        replayed = replay(self.commands, self.policy, self.journal)
        if state_of(replayed) != state_of(machine):
            raise BreachError("the journal tells another story than the machine")

    def _lose_everybody(self, dask: Dask) -> None:
        for node in self.nodes.values():
            if node.dask is dask:
                self._cut_off(node)

    # -- actions --------------------------------------------------------------------------------

    def _carry_out(self, controller: Controller, action: Action) -> None:
        match action:
            case actions.Issue(attempt=attempt):
                self._check_issue(attempt)
                controller.dask.queue.append(attempt)
            case actions.Submit(allocation=name):
                self._submit(controller, name)
            case actions.Release(allocation=name):
                node = self.nodes.get(name)
                if node is not None and node.dask is controller.dask:
                    self.drain(node)
            case actions.Cancel(allocation=name):
                if name in self.nodes:
                    self.end_job(self.nodes[name])
            case actions.Discard(attempt=attempt, allocation=name):
                raise BreachError(
                    f"{name} holds {attempt}, which was given up: the fence was wrong"
                )
            case actions.End(state=state):
                self._check_end(state)

    def _submit(self, controller: Controller, name: str) -> None:
        if name in self.nodes:
            raise BreachError(f"two allocations are called {name}")
        if self.refusing:
            event: Event = events.AllocationRefused(at=self.now, allocation=name, why="no")
        else:
            self._make_job(name)
            native = self.nodes[name].native_id
            event = events.AllocationSubmitted(at=self.now, allocation=name, native_id=native)
        controller.inbox.append(event)

    def _make_job(self, name: str) -> None:
        self.nodes[name] = Node(name, f"job-{len(self.nodes) + 1}", self.terms.slots)

    def land_late(self) -> None:
        """Let the scheduler take a submission whose controller has died meanwhile."""
        if self.late:
            self._make_job(self.late.pop(0))

    def _check_issue(self, attempt: AttemptId) -> None:
        self.issued[attempt.command] += 1
        for node in self.nodes.values():
            for other, epoch in node.entered.items():
                alive = other in node.started or epoch == self.epoch
                if other.command == attempt.command and alive:
                    raise BreachError(f"{attempt} is issued while {other} runs on {node.name}")
        if attempt.command in self.succeeded:
            raise BreachError(f"{attempt} is issued although its command has succeeded")

    def _check_end(self, state: actions.RunState) -> None:
        for node in self.nodes.values():
            if node.started and self.controller is not None:
                unsettled = self.controller.machine.ledger.unsettled
                raise BreachError(
                    f"the run is {state} while {node.started} run; {unsettled} unsettled"
                )

    # -- nodes ----------------------------------------------------------------------------------

    def start_job(self, node: Node) -> None:
        """Let the batch system start a job: its worker opens."""
        node.queued = False
        if self.dead_on_start:
            node.in_queue = False
            return
        node.alive = node.opened = True
        node.epoch = self.epoch
        node.records.append("opened")

    def end_job(self, node: Node, *, lingering: bool = False, silent: bool = False) -> None:
        """Let the batch system end a job.

        lingering -- it says so while the processes are still alive.
        silent -- the watchers die before they can write "all dead".
        """
        node.in_queue = False
        if node.queued:
            node.queued = False
        elif node.alive and not lingering:
            self._die(node, silent=silent)

    def _die(self, node: Node, *, silent: bool) -> None:
        node.alive = False
        node.entered.clear()
        node.started.clear()
        node.wire.clear()
        node.unsent.clear()
        self.disconnect(node)
        if not silent:
            node.records.append("all-dead")

    def drain(self, node: Node) -> None:
        """Let a worker start nothing more."""
        node.draining = True
        if node.dask is not None and self.controller and node.dask is self.controller.dask:
            event = events.WorkerDraining(at=self.now, allocation=node.name)
            self.controller.inbox.append(event)

    def leave_if_empty(self, node: Node) -> None:
        """Let a drained worker leave by itself, as it does when nothing runs and all is told."""
        if node.alive and node.draining and not node.entered and not node.unsent:
            self._die(node, silent=False)
            node.in_queue = False

    def join(self, node: Node) -> None:
        """Connect a worker to the newest controller."""
        if self.controller is None or not node.alive or node.dask is self.controller.dask:
            return
        self._cut_off(node)
        node.epoch, node.dask = self.epoch, self.controller.dask
        holding = tuple(node.entered)
        for attempt in holding:
            node.dask.placed[attempt] = node.name
        self.controller.inbox.append(
            events.WorkerJoined(
                at=self.now,
                allocation=node.name,
                node=f"{node.name}.cluster",
                slots=node.slots,
                holding=holding,
            )
        )

    def disconnect(self, node: Node) -> None:
        """Break a connection, so that the controller hears of it."""
        dask = node.dask
        if dask is None:
            return
        self._cut_off(node)
        if self.controller is None or self.controller.dask is not dask:
            return
        for attempt in [a for a, name in dask.placed.items() if name == node.name]:
            del dask.placed[attempt]
            self.controller.inbox.append(
                events.AttemptOrphaned(at=self.now, attempt=attempt, allocation=node.name)
            )
        self.controller.inbox.append(events.WorkerLeft(at=self.now, allocation=node.name))

    @staticmethod
    def _cut_off(node: Node) -> None:
        node.dask = None
        node.wire.clear()
        node.unsent.clear()

    # -- attempts -------------------------------------------------------------------------------

    def place(self, node: Node) -> None:
        """Let Dask put the next attempt in its queue into a free slot."""
        dask = node.dask
        if dask is None or not dask.queue or node.draining:
            return
        busy = sum(name == node.name for name in dask.placed.values())
        if busy < node.slots:
            attempt = dask.queue.pop(0)
            dask.placed[attempt] = node.name
            node.wire.append((attempt, dask.epoch))

    def enter(self, node: Node) -> None:
        """Let an attempt on the wire enter its worker, or be refused."""
        if not node.wire:
            return
        attempt, epoch = node.wire.pop(0)
        if node.draining or epoch != node.epoch:
            self._send(node, self._report(node, attempt, NotStarted()))
        else:
            node.entered[attempt] = epoch

    def start(self, node: Node) -> None:
        """Let the first attempt that has entered start its command, or be refused."""
        waiting = [a for a in node.entered if a not in node.started]
        if not waiting:
            return
        attempt = waiting[0]
        if node.entered[attempt] != self.epoch:
            del node.entered[attempt]
            self._send(node, self._report(node, attempt, NotStarted()))
            return
        for other in self.nodes.values():
            for running in other.started:
                if running.command == attempt.command:
                    raise BreachError(f"{attempt} starts while {running} runs on {other.name}")
        if attempt.command in self.succeeded:
            raise BreachError(f"{attempt} starts although its command has succeeded")
        node.started.add(attempt)
        node.records.append(attempt)

    def finish(self, node: Node, outcome: Outcome) -> None:
        """Let the command of an attempt end: on record first, then by message."""
        if not node.started:
            return
        attempt = min(node.started)
        node.started.remove(attempt)
        del node.entered[attempt]
        report = self._report(node, attempt, outcome)
        node.records.append(report)
        if outcome == Succeeded():
            self.succeeded.add(attempt.command)
        self._send(node, report)

    def deliver(self, node: Node) -> None:
        """Let a message arrive."""
        if not node.unsent or node.dask is None:
            return
        report = node.unsent.pop(0)
        if node.dask.placed.pop(report.attempt, None) is None:
            return
        if self.controller is not None and node.dask is self.controller.dask:
            self.controller.inbox.append(events.AttemptReported(at=self.now, report=report))

    def _send(self, node: Node, report: Report) -> None:
        if node.dask is not None and report.attempt in node.dask.placed:
            node.unsent.append(report)

    @staticmethod
    def _report(node: Node, attempt: AttemptId, outcome: Outcome) -> Report:
        return Report(attempt, outcome, node.name, f"{node.name}.cluster")

    # -- what the controller looks at -----------------------------------------------------------

    def _with_records(self, event: Event) -> list[Event]:
        """Put what records say of a worker before, and into, what it says itself."""
        if not isinstance(event, events.WorkerJoined) or self.controller is None:
            return [event]
        holding = tuple({**dict.fromkeys(event.holding), **self._started(event.allocation)})
        reports = self._new_reports(event.allocation)
        return [*reports, msgspec.structs.replace(event, holding=holding)]

    def _started(self, name: str) -> dict[AttemptId, None]:
        node = self.nodes.get(name)
        started: dict[AttemptId, None] = {}
        for record in node.records if node else []:
            if isinstance(record, AttemptId):
                started[record] = None
            elif isinstance(record, Report):
                started.pop(record.attempt, None)
        return started

    def _new_reports(self, name: str) -> list[Event]:
        if self.controller is None or name not in self.nodes:
            return []
        records = self.nodes[name].records
        new = records[self.controller.read.get(name, 0) :]
        self.controller.read[name] = len(records)
        return [events.AttemptReported(at=self.now, report=r) for r in new if isinstance(r, Report)]

    def look_at_records(self) -> None:
        """Let the controller read what is new in the records."""
        if self.controller is None:
            return
        for allocation in list(self.controller.machine.ledger.allocations.values()):
            if not allocation.over:
                self.controller.inbox += self._new_reports(allocation.name)

    def look_at_queue(self) -> None:
        """Let the controller ask the batch system for all of its allocations."""
        if self.controller is None:
            return
        expected = {
            e.allocation
            for e in self.controller.inbox
            if isinstance(e, events.AllocationSubmitted | events.AllocationRefused)
        }
        for allocation in list(self.controller.machine.ledger.allocations.values()):
            name = allocation.name
            if allocation.over or allocation.place is Place.GONE or name in expected:
                continue
            node = self.nodes.get(name)
            if node is None or not node.in_queue:
                news: Event = events.AllocationGone(at=self.now, allocation=name, state="GONE")
            elif not allocation.native_id:
                native = node.native_id
                news = events.AllocationSubmitted(at=self.now, allocation=name, native_id=native)
            else:
                state = "PENDING" if node.queued else "RUNNING"
                news = events.AllocationSeen(at=self.now, allocation=name, state=state)
                if state == allocation.state:
                    continue
            self.controller.inbox.append(news)

    def look_at_fences(self) -> None:
        """Let the controller fence what certainly runs no more."""
        if self.controller is None:
            return
        for allocation in list(self.controller.machine.ledger.allocations.values()):
            if allocation.over:
                continue
            node = self.nodes.get(allocation.name)
            gone = allocation.place is Place.GONE
            dead = node is not None and "all-dead" in node.records
            never = node is None or not node.opened
            # The lease: a worker that cannot be heard has killed its commands by then.
            silent = node is not None and not node.alive
            if (dead and (gone or allocation.ever_joined)) or (gone and (never or silent)):
                self.controller.inbox += self._new_reports(allocation.name)
                started = tuple(self._started(allocation.name))
                self.controller.inbox.append(
                    events.AllocationFenced(
                        at=self.now, allocation=allocation.name, evidence="dead", started=started
                    )
                )

    # -- a fair world ---------------------------------------------------------------------------

    def settle_down(self, most_rounds: int = 300) -> Machine:
        """Be kind until the run has ended; a run that does not end is a breach."""
        self.refusing = self.dead_on_start = False
        self.late.clear()
        for _ in range(most_rounds):
            if self.controller is None:
                self.new_controller()
            assert self.controller is not None
            if self.controller.machine.end is not None:
                self._compare_with_replay(self.controller.machine)
                return self.controller.machine
            self.now += 15
            for node in list(self.nodes.values()):
                self._be_kind_to(node)
            self.look_at_records()
            self.look_at_queue()
            self.look_at_fences()
            self.round()
        raise BreachError("the run does not end")

    def _be_kind_to(self, node: Node) -> None:
        if node.queued:
            self.start_job(node)
        if node.alive and not node.in_queue:
            self._die(node, silent=True)
        self.join(node)
        for _ in range(node.slots):
            self.place(node)
            self.enter(node)
            self.start(node)
            self.finish(node, Succeeded())
            self.deliver(node)
        self.leave_if_empty(node)


FAILURES: tuple[Outcome, ...] = (Failed(1), Failed(2), Cut("preempted"))
