"""Executes one notebook on the Deno kernel and reports what happens on standard output, one JSON object per line.

Called by run.ts with a job on standard input:
  {"notebook": {...}, "cwd": folder of the kernel, "timeout": seconds for all cells}
Events:
  {"event": "cell", "index": 3}                              this cell starts
  {"event": "error", "index": 3, "name", "message", "stack"} it failed; nothing after it runs
  {"event": "rejection", "index": 3, "stack"}                a promise that nobody awaits was rejected
  {"event": "thrown", "index": 3, "stack"}                   a timer or an event listener has thrown
  {"event": "late", "index": 3}                              output came too late to be shown
  {"event": "timeout", "index": 3}
  {"event": "done", "notebook": {...}}                       with outputs; always the last
"""

import asyncio
import json
import signal
import sys
import time
from collections import deque
from queue import Empty

# Three seconds of import, for a check of addresses that notebooks do not hold.
sys.modules["rfc3987_syntax"] = None

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets import Type

# The Deno kernel sometimes says that it is idle about a millisecond before it sends a cell's last output, and
# nbclient drops what comes after. So "idle" is held back until nothing has come for this long.
GRACE_S = 0.05

# Keeps the reasons of rejections that nobody handled, and of errors thrown in timers: neither fails a cell.
WATCH = """
{
  const faults: unknown[] = [];
  const keep = (event: Event, kind: string, reason: unknown) => {
    event.preventDefault();
    faults.push({ event: kind, stack: reason instanceof Error ? reason.stack ?? String(reason) : String(reason) });
  };
  addEventListener("unhandledrejection", (event) => keep(event, "rejection", event.reason));
  addEventListener("error", (event) => keep(event, "thrown", event.error));
  const take = { [Symbol.for("Jupyter.display")]: () => ({ "text/plain": JSON.stringify(faults.splice(0)) }) };
  Object.defineProperty(globalThis, Symbol.for("cyclops.faults"), { value: take });
}
"""

# Timers that are due run before the answer is given.
ASK = """
await new Promise((resolve) => setTimeout(resolve, %d));
Reflect.get(globalThis, Symbol.for("cyclops.faults"));
"""


class PatientIOPub(AsyncZMQSocketChannel):
    """Delivers "idle" after everything that came within GRACE_S of it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._ready = deque()

    async def get_msg(self, *args, **kwargs):
        if self._ready:
            return self._ready.popleft()
        message = await super().get_msg(*args, **kwargs)
        if not is_idle(message):
            return message
        idle = [message]
        while True:
            try:
                more = await super().get_msg(timeout=GRACE_S)
            except Empty:
                break
            (idle if is_idle(more) else self._ready).append(more)
        self._ready.extend(idle)
        return self._ready.popleft()


def is_idle(message):
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


class PatientClient(AsyncKernelClient):
    iopub_channel_class = Type(PatientIOPub)


class PatientManager(AsyncKernelManager):
    client_factory = Type(PatientClient)
    client_class = f"{__name__}.PatientClient"


def tell(event, **content):
    print(json.dumps({"event": event, **content}), flush=True)


async def execute_unseen(client, code):
    """Runs code that is not in the notebook. Returns its value's text and the ids of requests whose output came now."""
    request = client.execute(code, store_history=False)
    text, late = "", []
    while True:
        message = await client.get_iopub_msg(timeout=60)
        parent = message["parent_header"].get("msg_id")
        if parent == request:
            if is_idle(message):
                return text, late
            if message["msg_type"] == "execute_result":
                text = message["content"]["data"]["text/plain"]
        elif message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            late.append(parent)


async def ask(client, index, wait_ms=0):
    """Tells of rejections and late output since the last time."""
    text, late = await execute_unseen(client, ASK % wait_ms)
    for fault in json.loads(text or "[]"):
        tell(**fault, index=index)
    if late:
        tell("late", index=index)


async def execute(job):
    notebook = nbformat.from_dict(job["notebook"])
    runner = NotebookClient(
        notebook,
        kernel_name="deno",
        kernel_manager_class=PatientManager,
        resources={"metadata": {"path": job["cwd"]}},
        timeout=None,
        shutdown_kernel="immediate",
        startup_timeout=60,
        coalesce_streams=True,
    )
    current = 0

    async def cells():
        nonlocal current
        for current, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            tell("cell", index=current)
            try:
                await runner.async_execute_cell(cell, current)
            except CellExecutionError:
                await ask(runner.kc, current)
                raise
            await ask(runner.kc, current)
        await ask(runner.kc, current, wait_ms=200)

    deadline = float("inf")
    try:
        async with runner.async_setup_kernel():
            await execute_unseen(runner.kc, WATCH)
            deadline = time.monotonic() + job["timeout"]
            await asyncio.wait_for(cells(), job["timeout"])
    except asyncio.TimeoutError:
        tell("timeout", index=current)
    except CellExecutionError as error:
        output = next((o for o in notebook.cells[current].outputs if o.output_type == "error"), None)
        stack = "\n".join(output.traceback) if output else ""
        tell("error", index=current, name=error.ename, message=error.evalue, stack=stack)
    except DeadKernelError:
        # Also what comes of stopping a cell.
        if time.monotonic() >= deadline:
            tell("timeout", index=current)
        else:
            tell("error", index=current, name="", message="the kernel died", stack="")
    tell("done", notebook=notebook)


def main():
    task = None

    async def run():
        nonlocal task
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(stop, task.cancel)
        await execute(json.load(sys.stdin))

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(130)


if __name__ == "__main__":
    main()
