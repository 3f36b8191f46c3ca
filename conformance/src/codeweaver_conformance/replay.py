"""The program that makes a test's calls again: on as many backends, by as many tasks, overlapping as they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from codeweaver_conformance.recorder import Call, Event, Opened, Transcript, literal, spelling

__all__ = ["script"]

_STREAMS = """
async def stream(*items, error=None):
    for item in items:
        yield item
    if error is not None:
        raise error

async def answers(found):
    return [hits async for hits in (await found if hasattr(found, "__await__") else found)]
"""
"""What a program needs to make calls with streams again."""

_TOLD = """
async def told(call):
    try:
        found = call() if callable(call) else call
        return await found if hasattr(found, "__await__") else found
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""
"""What it needs of calls that have raised, and were not the last."""

_TASKS = """
import contextvars

class Task:
    # The calls of one task are made in one context; a task that it starts has a copy of it, as in asyncio.
    def __init__(self, context=None):
        self.context = context or contextvars.Context()

    def child(self):
        return Task(self.context.copy())

    async def begun(self, call, apart=False):
        async def made():
            found = call()
            if hasattr(found, "__await__"):
                found = await (asyncio.ensure_future(found) if apart else found)
            return found
        running = asyncio.create_task(told(made), context=self.context)
        await asyncio.sleep(0)
        return running

    async def __call__(self, call, apart=False):
        return await (await self.begun(call, apart))

async def cancelled(running, seconds):
    await asyncio.wait([running], timeout=seconds)
    if running.done():
        return running.result()
    running.cancel()
    await asyncio.wait([running], timeout=5)
    return f"not done after {seconds} s, and cancelled"
"""
"""What it needs where several tasks have made calls in a transaction or at once."""

_PATIENCE = 30.0
"""Seconds for which a program waits at most for a call that was cut short."""

_CLEARED = """\
    for name in {names!r}:
        try:
            await backend.delete_collection(name)
        except Exception:
            pass"""


def script(transcript: Transcript, create: str, *preamble: str) -> str:
    """A program that makes the calls again; ``create`` is the expression that makes the backend, of ``others``.

    What the last run of the program has left behind is deleted first. Backends, transactions and tasks are as many as
    they were: a call that was under way while others began is so again.
    """
    made = dict.fromkeys(one.arguments[0] for one in transcript.calls if _creates(one))
    names = [name for name in made if isinstance(name, str)]
    has_tasks = _needs_tasks(transcript)
    lines = list((_of_tasks if has_tasks else _of_one)(transcript))
    text = "\n".join(lines)
    return "\n".join(
        (
            "import array, asyncio, datetime, pathlib",
            "import numpy as np",
            "from codeweaver_backends import *",
            *preamble,
            *([_STREAMS] if "stream(" in text else []),
            *([_TOLD] if has_tasks or "told(" in text else []),
            *([_TASKS] if has_tasks else []),
            "",
            "def create(**others):",
            f"    return {create}",
            "",
            "async def main():",
            "    backend = create()",
            *([_CLEARED.format(names=names)] if names else []),
            *(f"    {one}" for one in lines),
            "",
            "asyncio.run(main())",
            "",
        )
    )


def _creates(call: Call) -> bool:
    return call.method == "create_collection" and bool(call.arguments)


def _needs_tasks(transcript: Transcript) -> bool:
    """Whether it matters who made a call: some overlap or were cut short, or there is a transaction to be in."""
    events = [one for one in transcript.events if isinstance(one, Event) and not _is_block(one.call)]
    begun = [at for at, one in enumerate(events) if one.kind == "begin"]
    overlap = any(not _ends_at_once(events, at) for at in begun)
    is_inside = any(one.method in ("begin_transaction", "transaction") for one in transcript.calls)
    return overlap or (is_inside and len({one.task.name for one in transcript.calls}) > 1)


def _ends_at_once(events: list[Event], at: int) -> bool:
    call = events[at].call
    return events[at + 1 : at + 2] == [Event("end", call)] and call.outcome != "cancelled"


def _is_block(call: Call) -> bool:
    return call.result.startswith("view_")


def _source(call: Call, transcript: Transcript) -> str:
    text = f"{call.backend}.{spelling(call, transcript.ids)}"
    return f"answers({text})" if call.method == "stream_search_vectors" else text


def _creation(opened: Opened) -> Iterator[str]:
    if opened.backend != "backend":
        others = ", ".join(f"{name}={literal(value)}" for name, value in opened.overrides.items())
        yield f"{opened.backend} = create({others})"


def _block(event: Event, transcript: Transcript) -> Iterator[str]:
    call = event.call
    if event.kind == "begin":
        yield f"block_{call.result} = {_source(call, transcript)}"
    elif event.kind == "enter":
        yield f"{call.result} = await block_{call.result}.__aenter__()"
    else:
        how = "None, None, None" if call.outcome == "returned" else "ZeroDivisionError, ZeroDivisionError(), None"
        yield f"print(await told(lambda: block_{call.result}.__aexit__({how})))"


def _of_one(transcript: Transcript) -> Iterator[str]:
    """The calls one after another. One that may raise is the last; of the others that is told."""
    for event in transcript.events:
        if isinstance(event, Opened):
            yield from _creation(event)
            continue
        call = event.call
        if _is_block(call):
            yield from _block(event, transcript)
        elif event.kind == "begin":
            text = _source(call, transcript)
            if call.result:
                yield f"{call.result} = await {text}"
            elif call.outcome == "returned" or call is transcript.calls[-1]:
                yield f"print(await {text})"
            else:
                yield f"print(await told(lambda: {text}))"


def _of_tasks(transcript: Transcript) -> Iterator[str]:
    """The calls as their tasks made them."""
    numbers = {call: number for number, call in enumerate(transcript.calls, 1)}
    events = [one for one in transcript.events if isinstance(one, Event)]
    places = {event: at for at, event in enumerate(events)}
    births = _births(transcript, places)
    for task in births.get(None, ()):
        yield f"{task} = Task()"
    for event in transcript.events:
        if isinstance(event, Opened):
            yield from _creation(event)
            continue
        call, task = event.call, event.call.task.name
        made = f"lambda: {_source(call, transcript)}{', apart=True' if call.is_apart else ''}"
        kept, running = f"{call.result} = " if call.result else "", f"call_{numbers[call]}"
        if _is_block(call):
            yield from _block(event, transcript)
        elif _ends_at_once(events, places[Event("begin", call)]):
            if event.kind == "begin":
                yield f"{kept}await {task}({made})" if kept else f"print(await {task}({made}))"
        elif event.kind == "begin":
            yield f"{running} = await {task}.begun({made})"
        elif call.outcome == "cancelled":
            yield f"print(await cancelled({running}, {min(call.seconds, _PATIENCE):.3f}))"
        else:
            yield f"{kept}await {running}" if kept else f"print(await {running})"
        for child in births.get(event, ()):
            yield f"{child} = {task}.child()"


def _births(transcript: Transcript, places: Mapping[Event, int]) -> dict[Event | None, list[str]]:
    """The tasks by the event after which their context was copied; ``None`` for those that have none to copy."""
    births: dict[Event | None, list[str]] = {}
    first: dict[str, Call] = {}
    for call in transcript.calls:
        first.setdefault(call.task.name, call)
    for name, call in first.items():
        after = call.task.after
        if after is None:
            births.setdefault(None, []).append(name)
            continue
        end = Event("end", after)
        has_ended = places.get(end, len(places)) < places[Event("begin", call)]
        births.setdefault(end if has_ended else Event("begin", after), []).append(name)
    return births
