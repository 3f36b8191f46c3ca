"""The order that keeps Lite from tripping over itself: no engine needed."""

from __future__ import annotations

import asyncio
import threading

from codeweaver_milvus.lite import Gate, Unfinished


def test_writers_take_turns_in_the_order_they_came() -> None:
    async def scenario() -> list[int]:
        gate, order = Gate(), list[int]()

        async def write(number: int) -> None:
            async with gate.writing():
                await asyncio.sleep(0)
                order.append(number)

        async with gate.writing():
            tasks = [asyncio.create_task(write(number)) for number in range(5)]
            await asyncio.sleep(0)
            tasks[2].cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(scenario()) == [0, 1, 3, 4]


def test_a_writer_that_never_rests_lets_another_in() -> None:
    async def scenario() -> int:
        gate, writes = Gate(), 0

        async def other() -> None:
            async with gate.writing():
                await asyncio.sleep(0)

        waiting = asyncio.create_task(other())
        while not waiting.done():
            async with gate.writing():
                await asyncio.sleep(0)
            writes += 1
        return writes

    assert asyncio.run(scenario()) < 5


def test_writers_on_several_event_loops_exclude_each_other() -> None:
    gate, inside, most = Gate(), 0, 0

    async def write() -> None:
        nonlocal inside, most
        for _ in range(20):
            async with gate.writing():
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=lambda: asyncio.run(write())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (inside, most) == (0, 1)


def test_writes_that_may_overlap_are_waited_for_by_one_that_may_not() -> None:
    async def scenario() -> list[str]:
        gate, order = Gate(), list[str]()

        async def shared(name: str) -> None:
            async with gate.sharing():
                order.append(f"{name} begins")
                await asyncio.sleep(0.02)
                order.append(f"{name} ends")

        async def alone() -> None:
            async with gate.writing():
                await gate.drained()
                order.append("alone begins")
                await asyncio.sleep(0.02)
                order.append("alone ends")

        tasks = [asyncio.create_task(work) for work in (shared("a"), shared("b"), alone(), shared("c"))]
        await asyncio.gather(*tasks)
        return order

    a_and_b = ["a begins", "b begins", "a ends", "b ends"]
    assert asyncio.run(scenario()) == [*a_and_b, "alone begins", "alone ends", "c begins", "c ends"]


def test_a_read_that_a_flush_overtook_is_made_again() -> None:
    async def scenario() -> tuple[str, int]:
        gate, reads = Gate(), 0

        async def read() -> str:
            nonlocal reads
            reads += 1
            if reads == 1:
                with gate.moving():
                    await asyncio.sleep(0)
                return "without the rows on their way"
            return "whole"

        return await gate.reading(read), reads

    assert asyncio.run(scenario()) == ("whole", 2)


def test_a_cancelled_caller_does_not_cut_work_short() -> None:
    async def scenario() -> None:
        gate, unfinished, ended = Gate(), Unfinished(), asyncio.Event()

        async def work() -> None:
            async with gate.writing():
                with gate.moving():
                    await ended.wait()

        caller = asyncio.create_task(unfinished.run(work()))
        await asyncio.sleep(0.01)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        reader = asyncio.create_task(gate.reading(lambda: asyncio.sleep(0, "read")))
        writer = asyncio.create_task(unfinished.run(work()))
        await asyncio.sleep(0.01)
        assert not reader.done()
        await unfinished.wait(0.01)
        ended.set()
        await asyncio.gather(reader, writer)
        assert await reader == "read"

    asyncio.run(scenario())
