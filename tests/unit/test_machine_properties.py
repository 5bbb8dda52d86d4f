"""Whatever happens to a run, its promises hold; the simulated cluster knows the truth."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tbss_hpc.core import events
from tbss_hpc.core.actions import End, RunState
from tbss_hpc.core.ledger import Verdict
from tbss_hpc.core.outcome import Cut, Fault, Lost, NotStarted, Succeeded, fault
from tests.unit.world import FAILURES, Node, World

#: What may happen next, the usual more often than the unusual.
STEPS = (
    *("round", "queue", "records", "fence", "start-job", "join", "place", "enter", "start") * 20,
    *("round", "place", "enter", "start", "start", "deliver", "round") * 20,
    *("succeed",) * 8,
    *("fail", "fail", "disconnect", "disconnect", "disconnect", "drain", "leave", "leave"),
    *("end-job", "end-job-silently", "linger", "lease", "lease", "late", "refuse", "refuse"),
    *("accept",) * 8,
    *("crash", "crash-in-round", "crash-in-round", "stop", *("take-over",) * 12),
)
RARE = ("cancel", "retry")


def alive(node: Node) -> bool:
    return node.alive


#: To whom a step may happen at all, where that is not every living worker.
WHOM: dict[str, Callable[[Node], bool]] = {
    "start-job": lambda node: node.queued,
    "place": lambda node: node.dask is not None and bool(node.dask.queue),
    "enter": lambda node: bool(node.wire),
    "start": lambda node: len(node.entered) > len(node.started),
    "succeed": lambda node: bool(node.started),
    "fail": lambda node: bool(node.started),
    "deliver": lambda node: bool(node.unsent),
    "end-job": lambda node: node.in_queue,
    "end-job-silently": lambda node: node.in_queue,
    "linger": lambda node: node.in_queue,
}


def take_over(world: World, number: int) -> None:
    ended = world.controller is not None and world.controller.machine.end is not None
    if world.controller is None or ended or number % 8 == 0:
        world.crash(stopped=True)
        world.new_controller()


def be_kind(world: World, _number: int) -> None:
    world.refusing = world.dead_on_start = False


def be_unkind(world: World, number: int) -> None:
    world.refusing, world.dead_on_start = number % 2 == 0, number % 3 == 0


def fail(world: World, number: int, node: Node) -> None:
    world.finish(node, FAILURES[number % len(FAILURES)])


def end_lingering_job(world: World, _number: int, node: Node) -> None:
    if not node.in_queue:
        world.end_job(node, silent=True)


ON_THE_CLUSTER: dict[str, Callable[[World, int], None]] = {
    "round": lambda world, _: world.round(),
    "queue": lambda world, _: world.look_at_queue(),
    "records": lambda world, _: world.look_at_records(),
    "fence": lambda world, _: world.look_at_fences(),
    "crash": lambda world, _: world.crash(),
    "stop": lambda world, _: world.crash(stopped=True),
    "crash-in-round": lambda world, number: world.round(cut_after=number % 12),
    "take-over": take_over,
    "accept": be_kind,
    "refuse": be_unkind,
    "late": lambda world, _: world.land_late(),
    "cancel": lambda world, _: ask(world, "cancel"),
    "retry": lambda world, _: ask(world, "retry"),
}
ON_A_NODE: dict[str, Callable[[World, int, Node], None]] = {
    "start-job": lambda world, _, node: world.start_job(node),
    "join": lambda world, _, node: world.join(node),
    "place": lambda world, _, node: world.place(node),
    "enter": lambda world, _, node: world.enter(node),
    "start": lambda world, _, node: world.start(node),
    "succeed": lambda world, _, node: world.finish(node, Succeeded()),
    "fail": fail,
    "deliver": lambda world, _, node: world.deliver(node),
    "drain": lambda world, _, node: world.drain(node),
    "leave": lambda world, _, node: world.leave_if_empty(node),
    "disconnect": lambda world, _, node: world.disconnect(node),
    "end-job": lambda world, _, node: world.end_job(node),
    "end-job-silently": lambda world, _, node: world.end_job(node, silent=True),
    "linger": lambda world, _, node: world.end_job(node, lingering=True),
    "lease": end_lingering_job,
}


def step(world: World, name: str, number: int) -> None:
    """Let something happen; `number` says to whom, and how exactly."""
    world.now += number % 17
    if name in ON_THE_CLUSTER:
        ON_THE_CLUSTER[name](world, number)
        return
    nodes = [node for node in world.nodes.values() if WHOM.get(name, alive)(node)]
    if nodes:
        ON_A_NODE[name](world, number, nodes[number % len(nodes)])


def ask(world: World, what: str) -> None:
    if world.controller is None:
        return
    if what == "cancel":
        world.controller.inbox.append(events.CancelRequested(at=world.now, by="me"))
    else:
        world.retries_asked += 1
        world.controller.inbox.append(events.RetryRequested(at=world.now))


def live(world: World, seed: int, length: int, steps: tuple[str, ...] = STEPS) -> None:
    """Let so many things happen by chance."""
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    world.new_controller()
    for _ in range(length):
        step(world, chance.choice(steps), chance.randrange(1 << 16))


def go_on_until_settled(world: World) -> End:
    """Resume the run until nothing is left to do."""
    for _ in range(20):
        machine = world.settle_down()
        if machine.end is not None and machine.ledger.unsettled == 0:
            standings = machine.ledger.standings.values()
            if all(s.verdict is not Verdict.CANCELLED for s in standings):
                return machine.end
        world.crash()
        world.new_controller()
    raise AssertionError(machine.ledger)


worlds = st.builds(
    World, commands=st.integers(1, 8), allocations=st.integers(1, 3), slots=st.integers(1, 3)
)
histories = st.lists(st.tuples(st.sampled_from(STEPS + RARE), st.integers(0, 999)), max_size=80)
quick = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=300)


@quick
@given(worlds, histories)
def test_whatever_happens_first_a_fair_world_brings_every_command_to_its_verdict(
    world: World, history: list[tuple[str, int]]
) -> None:
    world.new_controller()
    for name, number in history:
        step(world, name, number)
    go_on_until_settled(world)

    assert world.controller is not None
    standings = world.controller.machine.ledger.standings.values()
    done = {s.command.id for s in standings if s.verdict is Verdict.DONE}
    assert done == world.succeeded


@settings(quick, max_examples=120)
@given(worlds, st.integers(0, 1 << 32))
def test_a_long_life_changes_nothing_about_that(world: World, seed: int) -> None:
    live(world, seed, length=600)
    go_on_until_settled(world)

    assert world.controller is not None
    standings = world.controller.machine.ledger.standings.values()
    assert {s.command.id for s in standings if s.verdict is Verdict.DONE} == world.succeeded


@settings(quick, max_examples=120)
@given(worlds, st.integers(0, 1 << 32))
def test_budgets_are_kept_and_only_what_a_worker_did_is_charged(world: World, seed: int) -> None:
    live(world, seed, length=300)
    go_on_until_settled(world)

    assert world.controller is not None
    policy = world.policy
    for standing in world.controller.machine.ledger.standings.values():
        faults = [fault(outcome) for outcome in standing.charged]
        assert faults.count(Fault.NOBODY) == standing.charged.count(NotStarted())
        assert faults.count(Fault.COMMAND) <= policy.command_retries + 1
        assert faults.count(Fault.INFRASTRUCTURE) <= policy.infrastructure_retries + 1
        commands_own = [r for r in standing.reports if fault(r.outcome) is Fault.COMMAND]
        assert len(commands_own) <= policy.command_retries + 1
        if standing.verdict is Verdict.FAILED:
            assert not policy.allows(tuple(standing.charged))


@settings(quick, max_examples=120)
@given(worlds, st.integers(0, 1 << 32))
def test_a_cancelled_run_ends_and_nothing_of_it_runs(world: World, seed: int) -> None:
    live(world, seed, length=200)
    if world.controller is None:
        world.new_controller()
    ended_before = world.controller is not None and world.controller.machine.end is not None
    ask(world, "cancel")
    world.round()
    machine = world.settle_down()

    assert machine.end is not None
    if not ended_before and machine.end.state is not RunState.CANCELLED:
        assert machine.ledger.unsettled == 0
    assert not any(node.started for node in world.nodes.values())


@settings(quick, max_examples=120)
@given(worlds, st.integers(0, 1 << 32), st.integers(0, 12))
def test_a_cancel_that_was_journalled_is_kept_by_the_next_controller(
    world: World, seed: int, cut_after: int
) -> None:
    live(world, seed, length=150)
    if world.controller is None:
        world.new_controller()
    assert world.controller is not None
    ask(world, "cancel")
    world.round()
    ended = world.controller.machine.end is not None
    world.round(cut_after=cut_after)
    machine = world.settle_down()

    assert machine.end is not None
    if not ended and machine.end.state is not RunState.CANCELLED:
        assert all(s.verdict is not None for s in machine.ledger.standings.values())


@settings(quick, max_examples=40)
@given(worlds, st.integers(0, 1 << 32))
def test_a_world_without_accidents_tries_every_command_once(world: World, seed: int) -> None:
    usual = ("round", "queue", "records", "fence", "start-job", "join", "place", "enter", "start")
    live(world, seed, length=200, steps=(*usual, "succeed", "deliver"))
    machine = world.settle_down()

    assert machine.end is not None
    assert machine.end.state is RunState.FINISHED
    assert set(world.issued.values()) == {1}
    assert len(world.nodes) <= world.terms.allocations


@pytest.mark.parametrize("seed", range(3))
def test_the_simulation_reaches_what_it_is_meant_to_test(seed: int) -> None:
    # A simulator in which nothing goes wrong proves nothing.
    outcomes = set()
    doubts = 0
    for offset in range(40):
        world = World(commands=8, allocations=2, slots=2)
        live(world, seed * 1000 + offset, length=600)
        if world.controller is not None:
            standings = world.controller.machine.ledger.standings.values()
            outcomes |= {type(r.outcome) for s in standings for r in s.reports}
            doubts += sum(bool(s.doubt) for s in standings)

    assert {Succeeded, Lost, NotStarted, Cut} <= outcomes
    assert doubts > 0
