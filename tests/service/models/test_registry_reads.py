"""Registry reads in daemon threads: limits on their number, time limit, shared reads."""

import asyncio
import threading

import pytest

from quadnet.errors import NotReady, Overloaded
from service.models.registry_reads import RegistryReads

SOON = 0.05
LONG = 60


def gated(gate, ran):
    """Return a read that runs until the gate is set or its last caller has left."""

    def read(check_callers):
        ran.append(threading.current_thread())
        while not gate.wait(0.005):
            check_callers()
        return "answer"

    return read


async def until_it_ran(ran, n):
    async with asyncio.timeout(LONG):
        while len(ran) < n:
            await asyncio.sleep(0.005)


def test_a_running_read_stops_when_its_last_caller_leaves():
    async def run_test():
        reads, gate, ran = RegistryReads(limit=1, seconds=LONG), threading.Event(), []
        calls = [asyncio.create_task(reads.run(gated(gate, ran), key="k")) for _ in range(2)]
        await until_it_ran(ran, 1)
        calls[0].cancel()
        await asyncio.wait(calls[:1])
        ran[0].join(SOON)
        assert ran[0].is_alive()
        calls[1].cancel()
        await asyncio.to_thread(ran[0].join, LONG)
        assert not ran[0].is_alive()
        gate.set()
        assert await reads.run(gated(gate, ran), key="k") == "answer"
        assert len(ran) == 2
        assert all(thread.daemon for thread in ran)

    asyncio.run(run_test())


def test_a_queued_read_whose_caller_leaves_is_never_started():
    async def run_test():
        reads, gate, ran = RegistryReads(limit=1, seconds=LONG), threading.Event(), []
        first = asyncio.create_task(reads.run(gated(gate, ran)))
        await until_it_ran(ran, 1)
        given_up, last = [], []
        second = asyncio.create_task(reads.run(gated(gate, given_up)))
        third = asyncio.create_task(reads.run(gated(gate, last)))
        await asyncio.sleep(0)
        second.cancel()
        gate.set()
        assert [await first, await third] == ["answer", "answer"]
        assert (len(given_up), len(last)) == (0, 1)

    asyncio.run(run_test())


def test_callers_are_refused_at_once_while_all_reads_exceed_the_time_limit():
    async def run_test():
        gate, ran = threading.Event(), []

        def deaf(_check_callers):
            ran.append(threading.current_thread())
            assert gate.wait(LONG)
            return "late"

        reads = RegistryReads(limit=2, seconds=SOON)
        for _ in range(2):
            with pytest.raises(NotReady, match=r"not responded within 0\.05 seconds") as caught:
                await reads.run(deaf)
            assert caught.value.retry_after > 0
        await asyncio.sleep(SOON)
        refused = asyncio.create_task(reads.run(deaf))
        # Two turns of the event loop: the caller did not wait.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert isinstance(refused.exception(), NotReady)
        assert len(ran) == 2
        gate.set()
        for thread in ran:
            await asyncio.to_thread(thread.join, LONG)
        await asyncio.sleep(0)
        assert await reads.run(lambda _: "answer") == "answer"

    asyncio.run(run_test())


def test_the_number_of_waiting_callers_is_limited():
    async def run_test():
        reads, gate, ran = RegistryReads(limit=1, seconds=LONG), threading.Event(), []
        calls = [asyncio.create_task(reads.run(gated(gate, ran))) for _ in range(64)]
        await until_it_ran(ran, 1)
        with pytest.raises(Overloaded) as caught:
            await reads.run(gated(gate, ran))
        assert caught.value.retry_after > 0
        gate.set()
        assert await asyncio.gather(*calls) == ["answer"] * 64

    asyncio.run(run_test())


def test_an_exception_of_a_read_reaches_every_caller():
    async def run_test():
        def read(_check_callers):
            raise ValueError("no")

        reads = RegistryReads(limit=1, seconds=LONG)
        calls = [reads.run(read, key="k") for _ in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [repr(each) for each in outcomes] == ["ValueError('no')"] * 3

    asyncio.run(run_test())
