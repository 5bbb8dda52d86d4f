"""Controllers, connections and attempts across what may happen to each of them."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec import structs

from tbss_hpc.core.attempt import AttemptId
from tbss_hpc.core.outcome import Cut, NotStarted, Succeeded
from tbss_hpc.core.record import Ended, Started
from tbss_hpc.store.offer import Offer, read_offer, write_offer
from tbss_hpc.store.records import Evidence
from tests.contract.rig import NAME, SHAPE, Rig, rig, until

TWO_SLOTS = structs.replace(SHAPE, slots=2)


def running(r: Rig) -> set[str]:
    """Name the workers that Dask gives work to."""
    return {state.name for state in r.scheduler.running}


async def drop(r: Rig) -> None:
    """Let the controller drop its worker, as after a hiccup of the network; wait for its return."""
    joined = len([e for e in r.events if type(e).__name__ == "WorkerJoined"])
    await until(lambda: NAME in running(r), "it has joined whole")
    await r.scheduler.remove_worker(r.scheduler.aliases[NAME], stimulus_id="test")
    await r.of_type("WorkerJoined", joined + 1)


async def start(r: Rig, *names: str) -> None:
    for name in names:
        r.dispatcher.hand_over(r.order(name))
    await until(lambda: set(names) <= set(r.desk.started()), f"{names} start")


def ended(r: Rig) -> list[str]:
    """List the attempts that the records say have ended."""
    records = Evidence(r.run.records_of(NAME)).look()
    return [record.report.attempt.command for record in records if isinstance(record, Ended)]


# -- one controller ---------------------------------------------------------------------------


def test_an_attempt_is_made_and_reported(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            r.desk.let_go("a")
            await r.of_type("AttemptReported")

            assert [report.outcome for report in r.reports()] == [Succeeded()]
            await until(lambda: not r.scheduler.tasks, "Dask forgets it")
            assert r.dispatcher._waiting == set()

    asyncio.run(body())


def test_a_result_lost_on_its_way_is_not_the_commands_fault(tmp_path: Path) -> None:
    """The worker leaves between the end of a command and the fetching of its result.

    Dask cancels the future then, and its CancelledError is not asyncio's: it was once taken for a
    failure of the command, which was run again though it had succeeded.
    """

    async def body() -> None:
        async with rig(tmp_path) as r:
            fetch = asyncio.Event()
            gather = r.dispatcher._client._gather

            async def slow_gather(*arguments: object, **keywords: object) -> object:
                await fetch.wait()
                return await gather(*arguments, **keywords)

            r.dispatcher._client._gather = slow_gather
            await start(r, "a")
            r.desk.let_go("a")
            states = r.scheduler.tasks
            await until(lambda: {t.state for t in states.values()} == {"memory"}, "it ends")
            await drop(r)
            fetch.set()
            await until(lambda: not r.dispatcher._waiting, "the dispatcher has given it up")

            assert r.reports() == []
            assert ended(r) == ["a"]
            assert r.desk.started() == ["a"]

    asyncio.run(body())


def test_a_dropped_worker_returns_and_its_attempt_is_adopted_each_time(tmp_path: Path) -> None:
    """The second time, too: a Dask task that failed before must not stand for the new one."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            for _ in range(3):
                await drop(r)
            # Its slot is taken in Dask's count: nothing is sent to wait behind it.
            r.dispatcher.hand_over(r.order("b"))
            await until(lambda: r.scheduler.queued, "b waits at the scheduler")
            r.desk.let_go("a", "b")
            await r.of_type("AttemptReported", 2)

            holding = [event.holding for event in await r.of_type("WorkerJoined", 4)]
            assert holding == [(), *[(AttemptId("a", 1),)] * 3]
            assert sorted(report.attempt.command for report in r.reports()) == ["a", "b"]
            assert {report.outcome for report in r.reports()} == {Succeeded()}
            assert r.desk.started() == ["a", "b"]

    asyncio.run(body())


def test_an_order_of_an_earlier_controller_is_not_obeyed(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await r.dispatcher.close()
            await r.control()
            await r.of_type("WorkerJoined", 2)
            r.dispatcher.hand_over(r.order("late", epoch=1))
            await r.of_type("AttemptReported")

            assert [report.outcome for report in r.reports()] == [NotStarted()]
            assert r.desk.started() == []

    asyncio.run(body())


# -- draining ---------------------------------------------------------------------------------


def test_a_draining_worker_refuses_what_was_on_its_way_and_delivers_the_rest(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with rig(tmp_path, TWO_SLOTS) as r:
            await start(r, "a")
            # Before Dask is told: what it sends until then is refused, and is not lost.
            r.house.drain("the allocation ends soon")
            r.dispatcher.hand_over(r.order("b"))
            await r.of_type("WorkerDraining")
            r.desk.let_go("a")
            assert r.connection is not None
            why = await r.connection

            outcomes = {report.attempt.command: report.outcome for report in r.reports()}
            assert why == "the allocation ends soon"
            assert outcomes["a"] == Succeeded()
            assert outcomes.get("b", NotStarted()) == NotStarted()
            assert r.desk.started() == ["a"]
            assert r.scheduler.workers == {}

    asyncio.run(body())


def test_released_by_its_controller_a_worker_leaves(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            r.dispatcher.release(NAME, "the run is finished")
            assert r.connection is not None

            assert await r.connection == "the run is finished"
            assert [type(event).__name__ for event in r.events][-2:] == [
                *("WorkerDraining", "WorkerLeft")
            ]

    asyncio.run(body())


def test_a_discarded_attempt_is_killed_and_its_slot_free(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            r.dispatcher.discard(AttemptId("a", 1), NAME)
            await r.of_type("AttemptReported")

            assert isinstance(r.reports()[0].outcome, Cut)

            await start(r, "b")
            r.desk.let_go("b")
            await r.of_type("AttemptReported", 2)

    asyncio.run(body())


def test_a_drained_worker_whose_connection_broke_waits_for_no_fetching(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            r.house.drain("the allocation ends soon")
            await r.of_type("WorkerDraining")
            await r.dispatcher.close()
            r.desk.let_go("a")
            assert r.connection is not None

            assert await r.connection == "the allocation ends soon"
            assert ended(r) == ["a"]

    asyncio.run(body())


# -- controllers that follow one another --------------------------------------------------------


def test_an_attempt_outlives_two_controllers_and_the_third_gets_its_report(
    tmp_path: Path,
) -> None:
    """`adopt` is shielded: losing a controller must not cancel what the next one waits for."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            for number in (2, 3):
                await r.dispatcher.close()
                await r.control()
                await r.of_type("WorkerJoined", number)
            r.desk.let_go("a")
            await r.of_type("AttemptReported")

            assert [report.outcome for report in r.reports()] == [Succeeded()]
            assert r.desk.started() == ["a"]

    asyncio.run(body())


def test_a_worker_that_drains_joins_the_next_controller_and_says_so(tmp_path: Path) -> None:
    """Else that one would wait for it, and not ask for another allocation."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            r.house.drain("the allocation ends soon")
            await r.of_type("WorkerDraining")
            await r.dispatcher.close()
            await r.control()
            await r.of_type("WorkerJoined", 2)
            await r.of_type("WorkerDraining", 2)
            r.desk.let_go("a")
            await r.of_type("AttemptReported")

            assert [report.outcome for report in r.reports()] == [Succeeded()]

    asyncio.run(body())


def test_an_attempt_that_ends_between_two_controllers_is_reported_by_its_record(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            await r.dispatcher.close()
            r.desk.let_go("a")
            await until(lambda: ended(r) == ["a"], "the record")
            await r.control()
            joined = await r.of_type("WorkerJoined", 2)

            assert joined[1].holding == ()
            assert r.reports() == []

    asyncio.run(body())


def test_an_attempt_that_ends_while_its_worker_joins_is_reported_to_the_new_controller(
    tmp_path: Path,
) -> None:
    """It ends after the worker has said that it runs, and before it is adopted."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            await r.dispatcher.close()
            await r.listen()
            adopt = r.dispatcher._switchboard._adopt

            def adopt_late(attempt: AttemptId, address: str) -> str:
                r.desk.let_go("a")
                until_over = threading.Event()
                while not ended(r):
                    until_over.wait(0.01)
                return adopt(attempt, address)

            r.dispatcher._switchboard._adopt = adopt_late
            r.offer()
            await r.of_type("AttemptReported")

            assert [report.outcome for report in r.reports()] == [Succeeded()]
            assert r.desk.started() == ["a"]

    asyncio.run(body())


def test_an_attempt_that_cannot_be_adopted_is_not_called_invalid(tmp_path: Path) -> None:
    """Its command may be running: called invalid, it would be made again beside itself."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            await r.dispatcher.close()

            def unknown(attempt: AttemptId) -> NoReturn:
                raise LookupError(attempt)

            r.house.report_of = unknown  # type: ignore[method-assign]  # a house that lost it
            await r.control()
            await r.of_type("WorkerJoined", 2)
            await until(lambda: not r.dispatcher._waiting, "the adoption has failed")

            assert r.reports() == []

    asyncio.run(body())


def test_a_worker_never_goes_back_to_an_earlier_controller(tmp_path: Path) -> None:
    """A controller that was stopped in the act may write its offer over that of its successor."""

    async def body() -> None:
        async with rig(tmp_path) as r:
            first = read_offer(r.run)
            await r.dispatcher.close()
            await r.control()
            await r.of_type("WorkerJoined", 2)
            assert first is not None
            write_offer(r.run, first)
            await asyncio.sleep(0.5)

            assert len(await r.of_type("WorkerJoined", 2)) == 2
            assert NAME in r.scheduler.aliases

    asyncio.run(body())


def test_a_controller_on_its_predecessors_port_gets_its_workers_whole(tmp_path: Path) -> None:
    """With `ports` in the site file the next controller listens where the last one did.

    A worker that still tries the old address must join with its attempts, and must not refuse
    every order of the new epoch until it has read the new offer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shape = structs.replace(TWO_SLOTS, ports=(port, port))

    async def body() -> None:
        made = Rig(tmp_path, shape)
        await made.control()
        # Workers of one host cannot share the controller's only port.
        made.shape = TWO_SLOTS
        await made.open()
        try:
            await start(made, "a")
            await made.dispatcher.close()
            await until(lambda: made.scheduler.status.name == "closed", "the port is free")
            old = read_offer(made.run)
            assert old is not None
            await made.listen(shape)
            assert made.dispatcher.address == old.address

            # The offer is not written yet: it is the old one that brings the worker here.
            (_, joined) = await made.of_type("WorkerJoined", 2)
            made.dispatcher.hand_over(made.order("b"))
            await until(lambda: "b" in made.desk.started(), "b starts")

            assert joined.holding == (AttemptId("a", 1),)
            assert made.reports() == []
        finally:
            await made.close()

    asyncio.run(body())


def test_reconnecting_leaves_nothing_behind(tmp_path: Path) -> None:
    """No task, thread or descriptor more after twenty connections than after five."""

    def held() -> tuple[int, int, int]:
        # Dask's scheduler forgets what it logged of a worker after an hour, by a task that sleeps.
        tasks = [task for task in asyncio.all_tasks() if "_delayed" not in repr(task)]
        return len(tasks), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            for _ in range(5):
                await drop(r)
            before = held()
            for _ in range(15):
                await drop(r)
            await until(lambda: sum(held()) <= sum(before) + 3, f"back to {before}: {held()}")

    asyncio.run(body())


def test_the_run_being_over_ends_a_worker_and_what_it_runs(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await start(r, "a")
            offer = read_offer(r.run)
            assert offer is not None
            await r.dispatcher.close()
            write_offer(r.run, structs.replace(offer, over="cancelled"))
            assert r.connection is not None

            assert await r.connection == "the run is over: cancelled"
            assert ended(r) == ["a"]

    asyncio.run(body())


# -- the record comes first -------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
def test_every_attempt_that_starts_has_its_record_before_its_command(
    tmp_path: Path, slots: int
) -> None:
    async def body() -> None:
        async with rig(tmp_path, structs.replace(SHAPE, slots=slots)) as r:
            records = r.run.records_of(NAME)
            text = f"grep -c started '{records}' >> '{r.desk.folder}/seen'; echo $TBSS_HPC_ATTEMPT"
            for number in range(4):
                r.dispatcher.hand_over(r.order(f"c{number}", text=text))
            await r.of_type("AttemptReported", 4)
            seen = [int(line) for line in (r.desk.folder / "seen").read_text().split()]
            starts = [x for x in Evidence(records).look() if isinstance(x, Started)]

            assert len(starts) == 4
            assert all(count >= place for place, count in enumerate(sorted(seen), start=1))

    asyncio.run(body())


def test_an_offer_that_names_nobody_is_tried_until_there_is_a_better_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with rig(tmp_path) as r:
            await r.dispatcher.close()
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                address = f"tls://127.0.0.1:{nobody.getsockname()[1]}"
                r.epoch += 1
                write_offer(r.run, Offer(r.epoch, "h", 1, "", "0", address, "", 0.0))
                await asyncio.sleep(0.3)
                await r.control()
                await r.of_type("WorkerJoined", 2)

    asyncio.run(body())
