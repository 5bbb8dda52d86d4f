"""What we lean on that Dask does not promise; a failure says what an upgrade would break."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import KilledWorker

from tbss_hpc.cluster.scheduler import Switchboard
from tbss_hpc.worker import wire
from tbss_hpc.worker.connection import SlotsThreadPoolExecutor
from tests.contract.rig import Bed, dask_bed, until, wait_for

ADOPTED = ("adopted-1", "b", 1)


def switchboard(bed: Bed, adopt: Any = None) -> list[Any]:  # noqa: ANN401 - as the plugin takes it
    """Watch a bed with our own plugin; its workers must say what they hold."""
    events: list[Any] = []
    plugin = Switchboard(bed.scheduler, events.append, adopt, lambda: 0.0)
    bed.scheduler.add_plugin(plugin)
    return events


async def nothing(_worker: Worker) -> str:
    return "[]"


async def one(_worker: Worker) -> str:
    return '[{"command":"b","number":1}]'


async def node(_worker: Worker) -> str:
    return "node7"


HOLDS_NOTHING: dict[str, Any] = {"startup_information": {"attempts": nothing, "node": node}}
HOLDS_ONE: dict[str, Any] = {"startup_information": {"attempts": one, "node": node}}


def lose_connection(worker: Worker) -> None:
    """Break a worker's connection without a word, as the death of its node would."""
    worker.batched_stream.comm.abort()


# -- settings ---------------------------------------------------------------------------------


def test_every_setting_of_ours_is_one_that_dask_knows() -> None:
    import distributed  # noqa: F401, PLC0415 - it brings the defaults

    defaults = dask.config.merge(*dask.config.defaults)
    unknown = [key for key in wire.SETTINGS if dask.config.get(key, None, defaults) is None]

    # A worker-ttl of our own means something even where Dask's own default is none.
    assert unknown in ([], ["distributed.scheduler.worker-ttl"])


def test_settings_reach_the_objects_that_are_made_after_them(tmp_path: Path) -> None:
    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w")

            assert bed.scheduler.WORKER_SATURATION == 1.0
            assert bed.scheduler.allowed_failures == 0
            assert bed.scheduler.worker_ttl is None
            assert "stealing" not in bed.scheduler.extensions or not any(
                "balance" in name for name in bed.scheduler.periodic_callbacks
            )
            assert "memory_monitor" not in worker.periodic_callbacks
            assert not {"profile", "trigger_profile"} & set(worker.periodic_callbacks)

    asyncio.run(body())


# -- the queue (decision 5) -------------------------------------------------------------------


def test_no_command_waits_behind_a_busy_slot_while_another_idles(tmp_path: Path) -> None:
    """If `Scheduler.is_rootish` goes, a short list is packed onto the first workers again."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            await bed.join("a", 2)
            await bed.join("b", 2)
            names = [f"c{number}" for number in range(10)]
            kept = [bed.submit(name) for name in names]
            await until(lambda: len(bed.desk.started()) == 4, "four start")

            assert bed.processing() == {"a": 2, "b": 2}
            assert bed.states() == {"processing": 4, "queued": 6}

            # Only one slot of the four becomes free, again and again; it takes all that is left.
            done = bed.desk.started()[0]
            while len(bed.desk.started()) < len(names):
                before = len(bed.desk.started())
                bed.desk.let_go(done)
                await until(lambda b=before: len(bed.desk.started()) > b, "the next one starts")  # type: ignore[misc] # mypy knows no default in a lambda
                done = bed.desk.started()[-1]

                assert max(bed.processing().values()) == 2

            bed.desk.let_go(*names)
            assert [await future for future in kept] == names

    asyncio.run(body())


def test_the_queue_is_first_in_first_out(tmp_path: Path) -> None:
    """Retries are handed over first so that they do not make the tail; Dask keeps the order."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            names = [f"c{number}" for number in range(8)]
            kept = [bed.submit(name) for name in names]
            bed.desk.let_go(*names)
            await bed.join("a")

            assert [await future for future in kept] == names
            assert bed.desk.started() == names

    asyncio.run(body())


def test_what_is_handed_over_before_any_worker_is_there_waits(tmp_path: Path) -> None:
    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            bed.desk.let_go("a")
            future = bed.submit("a")
            await until(lambda: bed.state("a") in {"queued", "no-worker"}, "it waits")
            await bed.join("w")

            assert await future == "a"

    asyncio.run(body())


def test_a_worker_that_joins_late_is_given_work_from_the_queue(tmp_path: Path) -> None:
    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            await bed.join("early")
            kept = [bed.submit("a"), bed.submit("b")]
            await until(lambda: bed.states() == {"processing": 1, "queued": 1}, "one runs")
            await bed.join("late")
            await until(lambda: len(bed.desk.started()) == 2, "the other runs as well")

            assert bed.processing() == {"early": 1, "late": 1}
            assert len(kept) == 2

    asyncio.run(body())


# -- lost workers -----------------------------------------------------------------------------


def test_a_lost_worker_fails_what_it_was_given_at_once_and_nothing_else(tmp_path: Path) -> None:
    """With allowed-failures 0 Dask never sends an attempt elsewhere by itself, before a fence."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("lost", 2)
            kept = {name: bed.submit(name) for name in "abcd"}
            await until(lambda: len(bed.desk.started()) == 2, "two start")
            running = set(bed.desk.started())
            lose_connection(worker)
            errors = {name: await kept[name].exception() for name in running}

            assert {type(error) for error in errors.values()} == {KilledWorker}
            assert {error.last_worker.name for error in errors.values()} == {"lost"}
            assert {bed.state(name) for name in set("abcd") - running} <= {"queued", "no-worker"}

            await bed.join("next", 4)
            await until(lambda: len(bed.desk.started()) == 4, "the rest starts")

            assert sorted(bed.desk.started()) == ["a", "b", "c", "d"]

    asyncio.run(body())


def test_what_was_in_flight_is_told_before_its_worker_is_said_to_be_gone(tmp_path: Path) -> None:
    """Plugins hear of `processing` -> `erred` before `remove_worker`: the machine's order."""

    class Listener(SchedulerPlugin):
        heard: list[str]

        def __init__(self) -> None:
            self.heard = []

        def transition(self, _key: Any, start: str, finish: str, *_more: Any, **_also: Any) -> None:  # noqa: ANN401
            self.heard.append(f"{start}->{finish}")

        def remove_worker(self, _scheduler: Any = None, **_more: Any) -> None:  # noqa: ANN401
            self.heard.append("removed")

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            listener = Listener()
            bed.scheduler.add_plugin(listener, name="listener")
            worker = await bed.join("w")
            kept = bed.submit("a")
            await until(bed.desk.started, "it starts")
            lose_connection(worker)
            await until(lambda: "removed" in listener.heard, "the worker is removed")

            assert listener.heard.index("processing->erred") < listener.heard.index("removed")
            assert kept.key == ("attempt", "a", 1)

    asyncio.run(body())


def test_the_switchboard_names_what_was_with_a_lost_worker(tmp_path: Path) -> None:
    """If a task's `processing_on` goes, an attempt would stay in flight for ever."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            events = switchboard(bed)
            worker = await bed.join("w", 2, **HOLDS_NOTHING)
            kept = [bed.submit(name) for name in "abc"]
            await until(lambda: len(bed.desk.started()) == 2, "two start")
            lose_connection(worker)
            await until(lambda: len(events) == 4, "joined, two orphaned, left")

            orphans = {event.attempt.command for event in events[1:3]}
            assert [type(event).__name__ for event in events] == [
                *("WorkerJoined", "AttemptOrphaned", "AttemptOrphaned", "WorkerLeft")
            ]
            assert orphans == set(bed.desk.started())
            assert len(kept) == 3

    asyncio.run(body())


def test_a_finished_command_never_runs_again_for_a_result_that_was_lost(tmp_path: Path) -> None:
    """A key without `run_spec` is forgotten with its worker, and the future is cancelled.

    With its recipe Dask would run the command again, somewhere else, and say nothing.
    """

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            switchboard(bed)
            first = await bed.join("first", **HOLDS_NOTHING)
            await bed.join("second", **HOLDS_NOTHING)
            bed.desk.let_go("a")
            future = bed.submit("a", workers=["first"], allow_other_workers=True)
            await until(lambda: bed.state("a") == "memory", "it ends")
            await first.close(nanny=False, reason="before anybody fetched the result")
            await until(lambda: bed.state("a") is None, "it is forgotten")
            with pytest.raises(futures.CancelledError):
                await future

            assert bed.desk.started() == ["a"]

    asyncio.run(body())


# -- joining (decision 7) ---------------------------------------------------------------------


def test_plugins_have_their_say_before_a_worker_is_given_anything(tmp_path: Path) -> None:
    """`add_worker` is awaited while the worker is still `init`: adoption comes first."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            told = asyncio.Event()

            class Slow(SchedulerPlugin):
                async def add_worker(self, scheduler: Any, worker: str) -> None:  # noqa: ANN401
                    assert scheduler.workers[worker].status.name == "init"
                    await told.wait()

            bed.scheduler.add_plugin(Slow(), name="slow")
            bed.desk.let_go("a")
            future = bed.submit("a")
            joining = asyncio.ensure_future(bed.new_worker("w"))
            await until(lambda: "w" in bed.scheduler.aliases, "the worker is known")
            await asyncio.sleep(0.2)

            assert bed.processing() == {"w": 0}

            told.set()
            await joining

            assert await future == "a"

    asyncio.run(body())


def test_a_worker_says_what_it_holds_when_it_registers(tmp_path: Path) -> None:
    """`startup_information`, which may be coroutines, arrives as `WorkerState.extra`."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            await bed.join("w", 3, **HOLDS_ONE)
            (state,) = bed.scheduler.workers.values()

            assert state.extra == {"attempts": await one(state), "node": "node7"}
            assert (state.name, state.nthreads) == ("w", 3)

    asyncio.run(body())


async def adopted(folder: str) -> str:
    while not (Path(folder) / "go-adopted").exists():  # noqa: ASYNC110 - as simple as can be
        await asyncio.sleep(0.01)
    return "adopted"


def test_an_adopted_attempt_takes_a_slot_and_no_thread(tmp_path: Path) -> None:
    """A coroutine counts against nthreads, so that nothing waits behind it, and runs in the loop.

    It also comes before the queue, though the queue was there first.
    """

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            kept: list[Any] = [bed.submit("a"), bed.submit("b")]

            def adopt(_attempt: object, address: str) -> object:
                future = bed.client.submit(
                    adopted, str(tmp_path), key=ADOPTED, workers=[address], retries=0
                )
                kept.append(future)
                return ADOPTED

            switchboard(bed, adopt)
            pool = futures.ThreadPoolExecutor(2)
            await bed.join("w", 2, executor=pool, **HOLDS_ONE)
            await until(lambda: bed.desk.started() == ["a"], "the free slot is used")

            assert bed.states() == {"processing": 2, "queued": 1}
            assert len(pool._threads) == 1

            (tmp_path / "go-adopted").touch()
            await until(lambda: bed.desk.started() == ["a", "b"], "the slot is free")

            assert await kept[2] == "adopted"

    asyncio.run(body())


def test_the_same_name_joins_again_but_not_twice_at_once(tmp_path: Path) -> None:
    """An allocation's worker rejoins under its old name; while that is taken it is refused."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            first = await bed.join("w")
            twin = bed.new_worker("w")
            with pytest.raises((RuntimeError, ValueError), match=r"name taken|failed to start"):
                await twin

            assert bed.scheduler.aliases == {"w": first.address}

            await first.close(nanny=False, reason="to make room")
            second = await bed.join("w")

            assert bed.scheduler.aliases == {"w": second.address}

    asyncio.run(body())


# -- messages ---------------------------------------------------------------------------------


def test_a_message_reaches_a_worker_by_its_name(tmp_path: Path) -> None:
    """`aliases`, `worker_send` and `stream_handlers`: how a worker is told to leave."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            heard: list[str] = []

            def hear(why: str) -> None:
                heard.append(why)

            worker = await bed.join("w")
            worker.stream_handlers["tbss-release"] = hear
            address = bed.scheduler.aliases["w"]
            bed.scheduler.worker_send(address, {"op": "tbss-release", "why": "no more work"})
            await until(lambda: heard == ["no more work"], "the message")

    asyncio.run(body())


def test_a_message_to_a_worker_that_just_left_is_no_error(tmp_path: Path) -> None:
    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w")
            lose_connection(worker)
            while address := bed.scheduler.aliases.get("w"):
                bed.scheduler.worker_send(address, {"op": "tbss-release", "why": ""})
                await asyncio.sleep(0.001)

            assert bed.scheduler.workers == {}

    asyncio.run(body())


# -- draining (decision 6) --------------------------------------------------------------------


def test_a_worker_that_pauses_at_the_scheduler_is_given_nothing_more(tmp_path: Path) -> None:
    """The op `worker-status-change`; heartbeats and results do not make it `running` again."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w", 2)
            kept = [bed.submit(name) for name in "abcd"]
            await until(lambda: len(bed.desk.started()) == 2, "two start")
            worker.pause_at_scheduler()
            await until(lambda: bed.draining == ["w"], "our scheduler hears of it")
            running = bed.desk.started()
            bed.desk.let_go(*"abcd")
            results = [await f for f in kept if f.key[1] in running]
            for _ in range(5):
                await worker.heartbeat()

            assert sorted(results) == sorted(running)
            assert bed.scheduler.workers[worker.address].status.name == "paused"
            assert worker.status.name == "running"
            assert len(bed.desk.started()) == 2
            assert bed.processing() == {"w": 0}

            await bed.join("next")

            assert sorted([await future for future in kept]) == ["a", "b", "c", "d"]

    asyncio.run(body())


def test_results_stay_with_a_worker_until_they_are_released(tmp_path: Path) -> None:
    """`Worker.state.tasks` is empty when a drained worker may leave without taking any along."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w")
            future = bed.submit("a")
            await until(bed.desk.started, "it starts")

            assert worker.unfetched()

            bed.desk.let_go("a")
            await future

            assert worker.unfetched()

            future.release()
            await until(lambda: not worker.unfetched(), "the worker forgets it")

    asyncio.run(body())


# -- leaving (decision 4) ---------------------------------------------------------------------


def test_every_way_out_of_a_connection_leads_through_close(tmp_path: Path) -> None:
    """`Worker.close` with its `reason`: we override it to know that a connection is over."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            lost, dropped, left = [await bed.join(name) for name in ("lost", "dropped", "left")]
            lose_connection(lost)
            await bed.scheduler.remove_worker(dropped.address, stimulus_id="test")
            await left.close(nanny=False, reason="drained")
            last = await bed.join("last")
            await bed.scheduler.close()
            for worker in (lost, dropped, left, last):
                await worker.finished()

            assert {worker.status.name for worker in bed.workers} == {"closed"}
            assert lost.why_closed == "worker-handle-scheduler-connection-broken"
            assert dropped.why_closed == "scheduler-remove-worker"
            assert left.why_closed == "drained"
            assert last.why_closed.startswith("scheduler-close")

    asyncio.run(body())


def test_what_runs_outlives_the_worker_object(tmp_path: Path) -> None:
    """A pool is ended by `.shutdown` only; with one that ignores it, close waits for nobody."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w")
            kept = bed.submit("a")
            await until(bed.desk.started, "it starts")
            (thread,) = worker.executors["default"]._threads
            await worker.close(nanny=False, reason="newer-controller")

            # The command is still waiting to be told to end, so nothing has waited for it.
            assert not (tmp_path / "go-a").exists()
            assert thread.is_alive()
            assert await kept.exception()

            bed.desk.let_go("a")
            reused = worker.executors["default"].submit(threading.current_thread)

            assert reused.result(timeout=60) is thread

    asyncio.run(body())


def test_what_waits_in_the_pool_is_called_off_when_the_worker_object_closes(
    tmp_path: Path,
) -> None:
    """Else an attempt that nobody knows to be there would start under the next connection."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            pool = SlotsThreadPoolExecutor(1)
            worker = await bed.join("w", 2, executor=pool)
            kept = [bed.submit("a"), bed.submit("b")]
            await until(lambda: bed.processing() == {"w": 2} and bed.desk.started(), "one starts")
            await until(lambda: pool._work_queue.qsize() == 1, "one waits for the only thread")
            await worker.close(nanny=False, reason="newer-controller")
            bed.desk.let_go("a", "b")
            pool.submit(int).result(timeout=60)  # everything before it is over

            assert len(bed.desk.started()) == 1
            assert len(kept) == 2

    asyncio.run(body())


def where() -> tuple[str, str]:
    return str(get_worker().name), threading.current_thread().name


def test_a_command_finds_the_worker_that_runs_it(tmp_path: Path) -> None:
    """`get_worker` inside our pool: Dask looks for "ThreadPoolExecutor" in the type's name."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            for name in ("one", "two"):
                pool = SlotsThreadPoolExecutor(1, thread_name_prefix=f"slot-of-{name}")
                await bed.join(name, executor=pool)
            for name in ("one", "two"):
                found, thread = await bed.client.submit(where, workers=[name], pure=False)

                assert found == name
                assert thread.startswith("slot-of-" + name)

    asyncio.run(body())


def test_workers_serve_no_web_page(tmp_path: Path) -> None:
    """`start_http_server` is the only place that opens one, and it is made to do nothing."""

    async def body() -> None:
        async with dask_bed(tmp_path) as bed:
            worker = await bed.join("w")

            assert getattr(worker, "http_server", None) is None
            assert worker.services == {}

    asyncio.run(body())


def test_functions_of_ours_travel_by_name() -> None:
    """They are found where the package is installed, not sent along: both versions must match."""
    from distributed.protocol.pickle import dumps  # noqa: PLC0415

    assert b"tests.contract.rig" in dumps(wait_for)
