"""The controller: owns a run for one epoch, from claiming it to closing it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from msgspec import structs

from tbss_hpc import __version__
from tbss_hpc.app.effects import Effects
from tbss_hpc.app.proofs import Proofs
from tbss_hpc.app.spec import logs_of, read_plan, read_work, write_work
from tbss_hpc.app.tables import Tables
from tbss_hpc.app.watch import Watch
from tbss_hpc.app.work import Work
from tbss_hpc.cluster.batch import Batch
from tbss_hpc.cluster.certificate import remove_certificate
from tbss_hpc.cluster.dispatcher import Dispatcher
from tbss_hpc.core.actions import Action, End
from tbss_hpc.core.decide import Terms, decide
from tbss_hpc.core.events import (
    AttemptReported,
    CancelRequested,
    ControllerStarted,
    Event,
    FoundDone,
    RetryRequested,
    WorkerJoined,
)
from tbss_hpc.core.machine import Machine, replay, reports_first
from tbss_hpc.core.plan import Plan
from tbss_hpc.errors import FilesError, StoppedError
from tbss_hpc.report.sentences import sentence
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.store.journal import Journal, JournalReader, newest_epoch
from tbss_hpc.store.offer import Offer, read_offer, write_offer
from tbss_hpc.store.requests import Request, pending, take_away

#: Seconds between rounds in which nothing has happened.
TICK_SECONDS = 1.0
log = logging.getLogger("tbss_hpc")


class Controller:
    """Carries out a run: facts in, the machine, the journal, actions out."""

    def __init__(self, run: RunFolder, batch: Batch, offer: Offer) -> None:
        """Prepare to control a run; `offer` is what to tell its workers, address excepted."""
        self._run = run
        self._work: Work = read_work(run)
        self._plan: Plan = read_plan(run)
        self._offer = offer
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._stepping = asyncio.Lock()
        # Claimed before the journal is read: from now on no worker starts anything for an earlier
        # controller, and all that one had started is in the journal.
        self._journal = Journal(run, offer.epoch)
        reader = JournalReader(run)
        self._machine: Machine = replay(self._work.commands, self._plan.retry, reader.new())
        if reader.unread():
            log.warning("%d lines of the journal are torn or not known here.", reader.unread())
        self._terms = Terms(
            allocations=self._plan.allocations,
            slots=self._plan.shape.slots,
            token=self._plan.token,
            cores=self._plan.shape.cores,
            walltime_seconds=self._plan.shape.walltime_seconds,
            core_hours=self._plan.core_hours_limit,
        )
        self._dispatcher = Dispatcher(run, self.post)
        self._watch = Watch(
            run,
            self._plan,
            self._machine,
            batch,
            logs_of(self._work),
            self.post,
            self._dispatcher.tell_end,
        )
        self._effects = Effects(
            self._work, self._plan, self._machine, self._dispatcher, batch, self._watch, self.post
        )
        self._tables = Tables(run, self._machine, logs_of(self._work))
        self._proofs = Proofs(self._work, self._machine)

    def post(self, event: Event) -> None:
        """Take in a fact; from any thread."""
        self._inbox.append(event)
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def control(self) -> End:
        """Control the run until it ends.

        Raises StoppedError if another controller takes over, FilesError if the journal cannot be
        written; in both cases what runs on the nodes goes on.
        """
        await self._begin()
        looking = asyncio.create_task(self._look_around())
        try:
            while self._machine.end is None:
                if looking.done():
                    looking.result()
                await self._round()
        finally:
            looking.cancel()
            await self._effects.close()
            await self._dispatcher.close()
        await asyncio.to_thread(self._tables.write)
        return self._close(self._machine.end)

    # -- beginning and end ----------------------------------------------------------------------

    async def _begin(self) -> None:
        await self._dispatcher.start(self._plan.shape)
        self._offer = structs.replace(
            self._offer, address=self._dispatcher.address, dashboard=self._dispatcher.dashboard
        )
        self._check_epoch()
        write_offer(self._run, self._offer)
        log.info("Controller of epoch %d at %s.", self._offer.epoch, self._offer.address)
        # Only now: a worker that opens later reads our offer, and can be given nothing by others.
        started = ControllerStarted(
            at=time.time(),
            epoch=self._offer.epoch,
            host=self._offer.host,
            pid=self._offer.pid,
            version=__version__,
            opened=await self._watch.opened(),
        )
        done = self._found_done() if self._machine.epoch == 0 else []
        asked = pending(self._run)
        # All in one step: a run that had finished must not end again before its proofs are checked.
        broken = await asyncio.to_thread(self._proofs.check)
        write_work(self._run, self._work)
        # `done` first: an entry that a torn journal has lost is only made up for in epoch 1.
        await self._step([*done, started, *broken, *(_event(request) for _path, request in asked)])
        take_away(asked)

    def _found_done(self) -> list[Event]:
        now = time.time()
        return [FoundDone(at=now, command=c, proofs=p) for c, p in self._work.done.items()]

    def _close(self, end: End) -> End:
        self._check_epoch()
        log.info("The run is over: %s. %s", end.state.value, end.why)
        write_offer(self._run, structs.replace(self._offer, over=end.state.value, why=end.why))
        self._journal.close()
        remove_certificate(self._run)
        return end

    # -- rounds ---------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        while True:
            self._check_epoch()
            await asyncio.to_thread(self._renew_offer)
            await self._watch.look()
            await self._obey()
            await asyncio.to_thread(self._tables.write_if_due)
            self._arrived.set()
            await asyncio.sleep(TICK_SECONDS)

    def _renew_offer(self) -> None:
        """Put our offer back if a controller that we replaced has woken up and written its own."""
        if read_offer(self._run) != self._offer:
            write_offer(self._run, self._offer)

    async def _obey(self) -> None:
        """Do what was asked by files; each is taken away when it was journalled."""
        asked = await asyncio.to_thread(pending, self._run)
        if asked:
            async with self._stepping:
                await self._step([_event(request) for _path, request in asked])
            await asyncio.to_thread(take_away, asked)

    async def _round(self) -> None:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            pass
        self._arrived.clear()
        facts: list[Event] = []
        while self._inbox:
            event = self._inbox.popleft()
            facts += await self._watch.joined(event) if isinstance(event, WorkerJoined) else [event]
        async with self._stepping:
            await self._step(reports_first(facts))

    async def _step(self, facts: list[Event]) -> None:
        """Fold facts in, decide, put both on disk, and only then act."""
        news = [fact for fact in facts if self._fold(fact)]
        actions = decide(self._machine, self._terms, time.time())
        for action in actions:
            self._machine.apply(action)
        if news or actions:
            await self._write([*news, *actions])
        for action in actions:
            self._effects.carry_out(action)

    def _fold(self, fact: Event) -> bool:
        """Apply a fact; tell whether it was one (a report comes by message and by record)."""
        if isinstance(fact, AttemptReported) and self._machine.settled_already(fact.report):
            return False
        self._machine.apply(fact)
        self._effects.learn(fact)
        if isinstance(fact, AttemptReported):
            self._proofs.note(fact.report)
        return True

    async def _write(self, entries: list[Event | Action]) -> None:
        self._check_epoch()
        for entry in entries:
            if text := sentence(entry, self._machine):
                log.info(text)
        try:
            await asyncio.to_thread(self._journal.append, entries)
        except OSError as error:
            raise FilesError(
                "The journal cannot be written, so this controller stops.",
                why=f"{self._run.journal}: {error.strerror}",
                fix="make room, then `tbss-hpc resume`: commands that run go on meanwhile, and "
                "what they come to is kept by their workers",
            ) from error
        await asyncio.to_thread(self._proofs.keep)

    def _check_epoch(self) -> None:
        if self._journal.superseded():
            raise StoppedError(
                "Another controller has taken over this run.",
                why=f"epoch {newest_epoch(self._run)} is newer than {self._offer.epoch}",
                fix="nothing: what runs goes on under the other one (`tbss-hpc status`)",
            )


def _event(request: Request) -> Event:
    match request.kind:
        case "cancel":
            return CancelRequested(at=time.time(), by=request.by)
        case "retry":
            return RetryRequested(at=time.time())
