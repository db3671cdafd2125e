"""CPU time of requests: of their own steps alone, whatever else runs in the event loop."""

import asyncio
from dataclasses import dataclass

import pytest

from vrec.serving.budgets.cpu import CpuMeter, Metered, charge_cpu, measures_cpu


class Clock:
    """CPU time that only `work` spends."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, ms):
        self.now += ms / 1e3


def test_each_request_pays_for_its_own_steps():
    clock, meters = Clock(), [CpuMeter(), CpuMeter()]

    async def request(ms):
        for _ in range(3):
            clock.work(ms)
            await asyncio.sleep(0)
        return ms

    async def run():
        metered = [Metered(request(ms), meter, clock) for ms, meter in zip((2, 5), meters, strict=True)]
        return await asyncio.gather(*(one_of(one) for one in metered))

    async def one_of(metered):
        return await metered

    assert asyncio.run(run()) == [2, 5]
    assert [meter.ms for meter in meters] == pytest.approx([6, 15])


def test_errors_and_cancellation_pass_through_and_are_paid():
    clock, meter = Clock(), CpuMeter()

    async def fails():
        clock.work(1)
        await asyncio.sleep(0)
        clock.work(1)
        raise KeyError("x")

    async def waits():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            clock.work(4)
            raise

    async def handles():
        try:
            await fails()
        except KeyError:
            clock.work(2)
            return "handled"

    async def wait(work):
        return await Metered(work, meter, clock)

    async def run():
        with pytest.raises(KeyError):
            await wait(fails())
        assert meter.ms == pytest.approx(2)
        assert await wait(handles()) == "handled"
        task = asyncio.create_task(wait(waits()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert meter.ms == pytest.approx(2 + 4 + 4)


@dataclass(frozen=True)
class Made:
    cpu_ms: float = 0.0


def test_other_processes_charge_the_request_that_waits_for_them():
    meters = [CpuMeter(), CpuMeter()]

    async def request(ms):
        await asyncio.sleep(0)
        charge_cpu(ms)

    async def wait(ms, meter):
        await Metered(request(ms), meter)

    async def run():
        charge_cpu(1_000)  # nobody's
        await asyncio.gather(*(wait(ms, meter) for ms, meter in zip((100, 300), meters, strict=True)))

    asyncio.run(run())
    assert [round(meter.ms / 100) for meter in meters] == [1, 3]


def test_what_runs_in_the_request_s_own_process_is_not_charged_twice():
    @measures_cpu
    async def ranked():
        for _ in range(50):
            sum(range(5_000))
            await asyncio.sleep(0)
        return Made()

    async def wait():
        return await ranked()

    async def run():
        return await ranked(), await Metered(wait(), CpuMeter())

    remote, local = asyncio.run(run())
    assert remote.cpu_ms > 0
    assert local.cpu_ms == 0
