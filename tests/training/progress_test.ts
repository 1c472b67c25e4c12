import { assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { setProgressSink } from "../../lib/base/terminal.ts";
import { lossCurves } from "../../lib/charts/curves.ts";
import { trainWithProgress } from "../../lib/training/run.ts";
import type { TrainRecord } from "../../lib/training/loop.ts";
import { TERM_NAMES } from "../../lib/losses/objective.ts";

const RESULT = { learningRate: 1e-3, disparityMean: 0.03, disparityDeviation: 0.01, steps: 2 };

function step(
  step: number,
  loss: number,
  terms: Record<string, number>,
  milliseconds = 100,
  waited = 0,
): TrainRecord {
  return { kind: "step", step, loss, terms, milliseconds, waited, ...RESULT };
}

async function* records(): AsyncGenerator<TrainRecord> {
  yield { kind: "start", step: 1, steps: 3, parameters: 757_160, pairs: 60 };
  yield step(2, 0.5, { photometric: 0.4, consistency: 0.1 }, 300);
  yield { kind: "validation", step: 2, validation: { photometric: 0.1, absRel: 0.21, rmse: 6.2 } };
  yield { kind: "warning", step: 2, message: "the disk is full" };
  yield { kind: "checkpoint", step: 2, folder: "runs/x/checkpoints/step-000002" };
  await Promise.resolve();
  yield step(3, 0.4, { photometric: 0.35, consistency: 0.05 }, 300, 200);
  yield { kind: "end", step: 3, reason: "finished", folder: "runs/x/checkpoints/step-000003" };
}

/** Everything that is shown. */
async function shown(all: AsyncIterable<TrainRecord>) {
  const lines: string[] = [];
  setProgressSink(() => ({ line: (text) => lines.push(text), log: (text) => lines.push(text) }));
  try {
    return { summary: await trainWithProgress(all, "student"), lines };
  } finally {
    setProgressSink(undefined);
  }
}

Deno.test("a training is shown: start, loss and terms, validation, warnings, checkpoints, end", async () => {
  const { summary: { photometric, ...summary }, lines } = await shown(records());
  assertEquals(photometric?.map((value) => value.toFixed(3)), ["0.400", "0.395"]);
  assertEquals(summary, {
    steps: 3,
    reason: "finished",
    checkpoint: "runs/x/checkpoints/step-000003",
    validation: { photometric: 0.1, absRel: 0.21, rmse: 6.2 },
    millisecondsPerStep: 300,
  });
  const [start, first, validation, warning, saved, second, end] = lines;
  assertEquals(start, "student: 3 steps, 60 pairs, 0.76 M parameters, resuming from step 1");
  assertStringIncludes(first, "2/3 steps");
  assertStringIncludes(first, "loss 0.500  photo 0.400  cons 0.100");
  assertEquals(validation, "student  step 2: validation abs rel 0.2100, RMSE 6.20 m, photometric 0.1000");
  assertEquals(warning, "student  step 2: warning: the disk is full");
  assertEquals(saved, "student  step 2: saved runs/x/checkpoints/step-000002");
  assertStringIncludes(second, "waited 0.2 s for data  loss 0.490  abs rel 0.2100  photo 0.395  cons 0.0950");
  assertEquals(end, "student: finished at step 3, 300 ms per step");
});

Deno.test("every term has a short name of its own, and all of them fit beside each other", async () => {
  async function* all(): AsyncGenerator<TrainRecord> {
    yield { kind: "start", step: 0, steps: 3, parameters: 1, pairs: 1 };
    yield await Promise.resolve(step(1, 1, Object.fromEntries(TERM_NAMES.map((name) => [name, 0.1234]))));
    yield { kind: "end", step: 1, reason: "stopped" };
  }
  const { lines } = await shown(all());
  const words = lines[1].match(/[a-z-]+ 0\.123/g)!;
  assertEquals(new Set(words).size, TERM_NAMES.length);
  assertEquals(words.join(" ").length < 200, true);
});

Deno.test("onRecord gets every record, and charts draw them as they are", async () => {
  const seen: TrainRecord[] = [];
  setProgressSink(() => ({ line() {}, log() {} }));
  await trainWithProgress(records(), "student", (record) => void seen.push(record));
  setProgressSink(undefined);
  assertEquals(seen.map(({ kind }) => kind).at(-1), "end");
  const spec = JSON.stringify(lossCurves(seen as unknown as Record<string, unknown>[]).spec);
  for (const word of ["photometric", "consistency", "validation", "abs rel", "0.21"]) {
    assertStringIncludes(spec, word);
  }
});

Deno.test("a stream that ends without saying so is a fault", async () => {
  async function* cut(): AsyncGenerator<TrainRecord> {
    yield await Promise.resolve<TrainRecord>({ kind: "start", step: 0, steps: 3, parameters: 1, pairs: 1 });
  }
  await assertRejects(() => shown(cut()), Error, "end with its end");
});
