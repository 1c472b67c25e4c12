import { assertEquals, assertStringIncludes } from "../_assert.ts";
import { Diagnostics, type DiagnosticsState } from "../../lib/training/records.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import { lossWeights } from "../../lib/training/stages.ts";
import type { StepResult } from "../../lib/training/trainer.ts";

const weights = lossWeights(resolveTraining({ stage: "teacher" }));

function result(change: Partial<StepResult> = {}): StepResult {
  const terms = { refined: 0.3, refinedConsistency: 0.001 };
  return { loss: 0.3, terms, learningRate: 1e-3, disparityMean: 0.03, disparityDeviation: 0.01, ...change };
}

/** All that is said of so many updates. */
function said(diagnostics: Diagnostics, updates: number, each: (update: number) => StepResult): string[] {
  return Array.from({ length: updates }, (_, i) => diagnostics.check(each(i + 1))).flat();
}

Deno.test("a healthy run gives no warning", () => {
  assertEquals(
    said(new Diagnostics(weights), 500, (i) => result({ loss: 0.3 / i, terms: { refined: 0.3 / i } })),
    [],
  );
});

Deno.test("a collapsed disparity is reported once, and not before networks had time to leave their initial state", () => {
  const flat = () => result({ disparityDeviation: 1e-6 });
  const diagnostics = new Diagnostics(weights);
  assertEquals(said(diagnostics, 100, flat), []);
  const [message, ...more] = said(diagnostics, 100, flat);
  assertStringIncludes(message, "the disparity has collapsed to 0.0300 everywhere: lower the learning rate");
  assertEquals(more, []);
});

Deno.test("a refine network that repeats the student is reported once; a network that is none is not", () => {
  const diagnostics = new Diagnostics(weights);
  const [message, ...more] = said(diagnostics, 300, () => result({ residual: 1e-5 }));
  assertStringIncludes(
    message,
    "the refine network still repeats the student (mean |difference| of their logits 1.0e-5): raise the learning",
  );
  assertEquals(more, []);
  assertEquals(said(new Diagnostics(weights), 300, () => result({ residual: undefined })), []);
  assertEquals(said(new Diagnostics(weights), 300, () => result({ residual: 0.1 })), []);
});

Deno.test("each diverging term is reported once, by name, with its level before and now", () => {
  const diagnostics = new Diagnostics(weights);
  const up = (i: number) => {
    const refined = i < 200 ? 0.3 : 0.9;
    return result({ loss: refined, terms: { refined, refinedConsistency: 0.001 } });
  };
  const [message, ...more] = said(diagnostics, 600, up);
  assertEquals([message, more], ["the term refined diverges: 0.607, it was 0.300", []]);
});

Deno.test("a term near 0 may double without harm to the loss", () => {
  const grow = (i: number) => result({ terms: { refined: 0.3, refinedConsistency: i < 200 ? 0.001 : 0.01 } });
  assertEquals(said(new Diagnostics(weights), 600, grow), []);
});

Deno.test("a resumed run neither repeats a warning nor waits for it again; its state survives JSON", () => {
  const flat = () => result({ disparityDeviation: 1e-6 });
  const early = new Diagnostics(weights), late = new Diagnostics(weights);
  said(early, 90, flat);
  said(late, 150, flat);
  const reload = (diagnostics: Diagnostics) =>
    new Diagnostics(weights, JSON.parse(JSON.stringify(diagnostics.state)) as DiagnosticsState);
  assertEquals(said(reload(early), 11, flat).length, 1);
  assertEquals(said(reload(late), 200, flat), []);
});
