import { assert, assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { cpuFeatures, selectBackend, tf } from "../../lib/backend/mod.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { ARCHITECTURES, countParameters, planNetwork } from "../../lib/models/architecture.ts";
import { bench, benchTable, type Comparison, COMPARISONS } from "../../tasks/bench.ts";
import { TorchPeer } from "../../tasks/bench/peer.ts";

await selectBackend();

/** A Python that may have PyTorch. */
const python = Deno.env.get("TORCH_PYTHON") ?? "python3";
const hasTorch = await TorchPeer.start(python, 1).then((peer) => peer.close().then(() => true), () => false);

const tiny = { architecture: "quick", size: { height: 32, width: 64 }, batch: 2 } as const;
const forward: Comparison = { ...COMPARISONS.forward, ...tiny };
const step: Comparison = {
  ...COMPARISONS.vgg,
  ...tiny,
  photometricViews: "both",
  contenders: [
    ...COMPARISONS.quick.contenders.slice(0, 2),
    ...COMPARISONS.vgg.contenders.slice(1),
  ],
};
const once = { repeats: 2, warmup: 1, python };

Deno.test("without PyTorch our own ways are measured, and all of them compute the same", async () => {
  const before = tf.memory().numTensors;
  let runs = -1;
  const report = await bench([forward, step], {
    ...once,
    python: "no-such-python",
    onProgress: (done, total) => assertEquals([done, total], [++runs, 3 * (5 + 7)]),
  });
  assertEquals(runs, 36);
  assertEquals(tf.memory().numTensors, before);
  assertEquals(report.torch, { absent: "there is no no-such-python" });
  for (const { parameters, contenders } of report.comparisons) {
    assertEquals(parameters, countParameters(planNetwork(ARCHITECTURES.quick, 3)));
    for (const { torch, precision, absent, milliseconds, quartiles, ratio, values } of contenders) {
      assertEquals(ratio, undefined);
      assertEquals(
        absent !== undefined,
        torch !== undefined || (precision === "bf16" && !cpuFeatures().bf16),
      );
      if (absent !== undefined) continue;
      assertEquals([milliseconds!.length, values!.length], [2, 3]);
      const [low, median, high] = quartiles!;
      assert(0 < low && low <= median && median <= high);
    }
  }
  const { contenders } = report.comparisons[1];
  // Several updates: compiled and eager ones go the same way down.
  const [own, ...others] = contenders.filter(({ values, precision }) => values && precision !== "bf16");
  assertEquals(others.map(({ name }) => name), ["ours, eager", "ours, eager"]);
  assert(own.values![2] < own.values![0]);
  for (const { values } of others) values!.forEach((v, i) => assertAlmostEquals(v, own.values![i], 1e-3));

  const text = benchTable(report).text();
  assertStringIncludes(text, "pip install torch");
  assertEquals(text.split("no-such-python").length, 2);
  assertStringIncludes(benchTable({ ...report, load: 3 }).text(), "The machine was busy (load 3.0)");
  assert(!benchTable({ ...report, load: 0.1 }).text().includes("busy"));
  assertStringIncludes(text, "32x64 px, batch 2 (0.76 M parameters");
});

Deno.test("a program that is no Python with PyTorch is told from one that fails", async () => {
  await assertRejects(() => TorchPeer.start("echo", 1), CyclopsError, "expected JSON");
  await assertRejects(() => TorchPeer.start("true", 1), CyclopsError, "true stopped");
});

Deno.test({
  name: `PyTorch computes the same losses from the same weights and images${
    hasTorch ? "" : " (no PyTorch: name a Python that has it by TORCH_PYTHON)"
  }`,
  ignore: !hasTorch,
  fn: async () => {
    // `bench` itself refuses a first result or a number of parameters that is not ours.
    const few = (c: Comparison): Comparison => {
      const peers = c.contenders.filter(({ torch, precision }) => torch && precision !== "bf16");
      return { ...c, contenders: [c.contenders[0], ...peers] };
    };
    // The second network has kernels of 5 and 7 px, too.
    const vgg: Comparison = { ...COMPARISONS.vgg, size: { height: 128, width: 128 }, batch: 1 };
    const report = await bench([forward, step, vgg].map(few), { ...once, repeats: 1 });
    assert("torch" in report.torch);
    const counts = (["quick", "quick", "vgg"] as const).map((a) =>
      countParameters(planNetwork(ARCHITECTURES[a], 3))
    );
    assertEquals(report.comparisons.map(({ parameters }) => parameters), counts);
    for (const { contenders: [own, ...peers] } of report.comparisons) {
      assertEquals(peers.length, 2);
      for (const { values, absent } of peers) {
        assertEquals(absent, undefined);
        // The second result shows that the gradients are the same, too.
        values!.forEach((v, i) => assertAlmostEquals(v, own.values![i], 1e-3));
      }
      assertEquals(Math.min(...peers.map(({ ratio }) => ratio!)), 1);
      assert(own.ratio! > 0);
    }
    assert(!benchTable(report).text().includes("pip install"));
  },
});

Deno.test({
  name: "PyTorch tells what fails and goes on",
  ignore: !hasTorch,
  fn: async () => {
    const peer = await TorchPeer.start(python, 1);
    try {
      const error = await assertRejects(
        () => peer.make({ name: "none", kind: "forward" }, new Map()),
        CyclopsError,
      );
      assertStringIncludes(error.message, "KeyError");
      // It answers on.
      await peer.drop();
      await assertRejects(() => peer.run("none"), CyclopsError, "none");
    } finally {
      await peer.close();
    }
  },
});
