import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { Progress, setProgressSink } from "../../lib/base/terminal.ts";
import { jupyter, type JupyterApi, LiveDisplay, notebookProgress, show } from "../../lib/charts/display.ts";

interface Sent {
  readonly type: string;
  readonly text: unknown;
  readonly id: unknown;
}

/** A kernel that notes what it is sent. */
function fakeKernel(): { kernel: JupyterApi; sent: Sent[] } {
  const sent: Sent[] = [];
  const kernel: JupyterApi = {
    broadcast(type, content) {
      const data = content.data as Record<string, unknown>,
        transient = content.transient as Record<string, unknown>;
      sent.push({ type, text: data["text/plain"], id: transient.display_id });
      return Promise.resolve();
    },
  };
  return { kernel, sent };
}

Deno.test("outside a notebook everything is silent and nothing is drawn", async () => {
  assertEquals(jupyter(), undefined);
  const live = new LiveDisplay();
  let drawn = 0;
  await live.update(() => `${++drawn}`);
  await live.finish(() => `${++drawn}`);
  await show("text");
  assertEquals(drawn, 0);
});

Deno.test("a live display is shown once and then changed in place", async () => {
  const { kernel, sent } = fakeKernel();
  const live = new LiveDisplay({ kernel, every: 0 });
  await live.update("one");
  await live.update(() => Promise.resolve("two"));
  await live.finish("three");
  assertEquals(sent.map(({ type, text }) => [type, text]), [
    ["display_data", "one"],
    ["update_display_data", "two"],
    ["update_display_data", "three"],
  ]);
  assertEquals(new Set(sent.map(({ id }) => id)).size, 1);
});

Deno.test("what comes too soon is passed over without being drawn, the last state is not", async () => {
  const { kernel, sent } = fakeKernel();
  const live = new LiveDisplay({ kernel, every: 1000 });
  let drawn = 0;
  for (let i = 0; i < 5; i++) await live.update(() => `${++drawn}`);
  await live.finish("end");
  assertEquals(drawn, 1);
  assertEquals(sent.map(({ text }) => text), ["1", "end"]);
});

Deno.test("a picture that fails tells so once and does not stop the next", async () => {
  const { kernel, sent } = fakeKernel();
  const live = new LiveDisplay({ kernel, every: 0 });
  await assertRejects(() => live.update(() => Promise.reject(new Error("broken"))), Error, "broken");
  await live.finish("fine");
  assertEquals(sent.map(({ text }) => text), ["fine"]);
});

Deno.test("progress goes to a notebook's cell, bars at one place and log lines above", async () => {
  const { kernel, sent } = fakeKernel();
  setProgressSink(() => notebookProgress(kernel));
  try {
    const progress = new Progress({ label: "training", total: 4 });
    progress.update(1, "loss 0.5");
    progress.log("best so far");
    progress.finish("done");
  } finally {
    setProgressSink(undefined);
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert(String(sent[0].text).includes("1/4 steps") && String(sent[0].text).includes("loss 0.5"));
  assert(!String(sent[0].text).includes("\x1b"));
  assertEquals(sent.at(-1)?.text, "best so far\ndone");
  assertEquals(new Set(sent.map(({ id }) => id)).size, 1);
});
