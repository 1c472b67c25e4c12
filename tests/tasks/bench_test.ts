import { join } from "@std/path";
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { cpuFeatures } from "../../lib/backend/ops.ts";
import { CyclopsError } from "../../lib/base/errors.ts";
import { ARCHITECTURES, countParameters, planNetwork } from "../../lib/models/architecture.ts";
import { bench, benchChart, benchTable, type Comparison, COMPARISONS } from "../../tasks/bench.ts";
import { formatSplit } from "../../lib/data/split.ts";
import { evaluationTable } from "../../tasks/bench/evaluation.ts";
import { Peer } from "../../tasks/bench/peer.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";
import { measurePredict, measureWaits, profileTable, scalingTable } from "../../tasks/bench/studies.ts";

/** A Python that may have PyTorch. */
const python = Deno.env.get("TORCH_PYTHON") || "python3";
const hasTorch = await Peer.torch(python, 1).then((peer) => peer.close().then(() => true), () => false);
const needsTorch = hasTorch ? "" : " (no PyTorch: name a Python that has it by TORCH_PYTHON)";
const hasNumpy = await new Deno.Command(python, { args: ["-c", "import numpy, PIL"], stderr: "null" })
  .output()
  .then(({ success }) => success, () => false);
const needsNumpy = hasNumpy ? "" : " (no numpy with Pillow: name a Python that has them by TORCH_PYTHON)";

const tiny = { architecture: "quick", size: { height: 32, width: 64 }, batch: 2 } as const;
const forward: Comparison = { ...COMPARISONS["vgg-forward"], ...tiny };
const step: Comparison = { ...COMPARISONS.vgg, ...tiny, photometricViews: "both" };
const plan = { repeats: 2, warmup: 2, python };

Deno.test("without PyTorch our own ways are measured, and all of them compute the same", async () => {
  let runs = -1;
  const report = await bench([forward, step], {
    ...plan,
    python: "no-such-python",
    onProgress: (done, total) => assertEquals([done, total], [++runs, 4 * (7 + 7)]),
  });
  assertEquals(runs, 56);
  assert(report.peakGflops > 1);
  assertEquals(report.torch, { absent: "there is no no-such-python" });
  for (const { parameters, gigaflops, contenders } of report.comparisons) {
    assertEquals(parameters, countParameters(planNetwork(ARCHITECTURES.quick, 3)));
    assert(gigaflops > 0);
    for (const timing of contenders) {
      const { torch, precision, absent, milliseconds, quartiles, ratio, compiledRatio, values } = timing;
      assertEquals([ratio, compiledRatio], [undefined, undefined]);
      assertEquals(
        absent !== undefined,
        torch !== undefined || (precision === "bf16" && !cpuFeatures().bf16),
      );
      if (absent !== undefined) continue;
      assertEquals([milliseconds!.length, values!.length], [2, 4]);
      const [low, median, high] = quartiles!;
      assert(0 < low && low <= median && median <= high);
      if (Deno.build.os === "linux") assert(timing.peakMib! > 50);
    }
  }
  const { contenders } = report.comparisons[1];
  // Several updates: compiled and eager ones go the same way down.
  const [own, eager] = contenders;
  assert(own.values![3] < own.values![0]);
  eager.values!.forEach((v, i) => assertAlmostEquals(v, own.values![i], 1e-5));

  const text = benchTable(report).text();
  assertStringIncludes(text, "--python");
  assertEquals(text.split("no-such-python").length, 2);
  assertStringIncludes(benchTable({ ...report, load: 20 * report.threads }).text(), "The machine was busy");
  assert(!benchTable({ ...report, load: 0.1 }).text().includes("busy"));
  assertStringIncludes(text, "32x64 px, batch 2: 0.76 M parameters");
  for (const line of benchTable(report).text(80).split("\n")) assert([...line].length <= 80, line);
  assertStringIncludes(await benchChart(report).svg(), "ours, --eager");
});

Deno.test("a program that is no Python with PyTorch is told from one that fails", async () => {
  await assertRejects(() => Peer.torch("echo", 1), CyclopsError, "expected JSON");
  await assertRejects(() => Peer.torch("true", 1), CyclopsError, "true stopped");
});

Deno.test("a profile accounts for all convolutions", async () => {
  const { content: { rows, notes } } = await profileTable({ ...COMPARISONS.quick, ...tiny });
  const phases = new Set(rows.map(({ group }) => group!.split(",")[0]));
  assertEquals([...phases], ["forward", "backward", "Adam", "all phases"]);
  const share = (name: string) => rows.find((row) => row.name === name)!.cells.share as number;
  assertAlmostEquals(share("convolutions") + share("all else"), 100, 1e-6);
  const { ms, rate } = rows.find((row) => row.name === "convolutions")!.cells as Record<string, number>;
  // The plan counts the gradient with respect to the image too, which nobody needs.
  const planned = Number(/its ([\d.]+) GFLOP/.exec(notes![1])![1]);
  assert(rate * ms / 1000 < planned + 0.05 && rate * ms / 1000 > 0.8 * planned - 0.05);
});

Deno.test("scaling and waits are tables", async () => {
  const work = { ...tiny, kind: "step" } as const;
  const works = [work, { ...work, batch: 4 }];
  const scaling = await scalingTable({ repeats: 1, warmup: 1 }, [{ name: "batch", works }]);
  assertEquals(scaling.content.rows.map(({ cells }) => cells.megapixels), [0.004096, 0.008192]);
  const waits = await measureWaits(["128x416"], 6, 2);
  assertEquals(waits.content.rows.map(({ name }) => name), ["PNG", "cache", "JPEG"]);
  for (const { cells: { share } } of waits.content.rows) assert(0 <= Number(share) && Number(share) < 100);
});

Deno.test({
  name: `numpy finds the same errors of frames as eval${needsNumpy}`,
  ignore: !hasNumpy,
  fn: async () => {
    const scan = Array.from({ length: 400 }, (_, i) => pointAt(i % 61 + 2, i % 14 + 16.4, 5 + i % 13)).flat();
    const frames = [{ scan }, { scan: scan.slice(4).map((v) => 1.1 * v) }];
    await withRoot(frames, async (root, pairs) => {
      const split = join(root, "pairs.txt");
      await Deno.writeTextFile(split, formatSplit(pairs));
      // Numbers that differ end it.
      const { content: { rows, notes } } = await evaluationTable({ ...plan, data: root, split, frames: 5 });
      assertEquals(rows.length, 3);
      assertEquals(rows[0].cells.ratio, 1);
      assertStringIncludes(notes![0], "2 of pairs used again and again");
    });
  },
});

Deno.test({
  name: `PyTorch computes the same losses from the same weights and images${needsTorch}`,
  ignore: !hasTorch,
  fn: async () => {
    // `bench` itself refuses results or a number of parameters that are not ours. torch.compile takes a minute for each.
    const few = (c: Comparison): Comparison => ({
      ...c,
      contenders: c.contenders.filter(({ precision, eager, torch }) =>
        precision !== "bf16" && !eager && !torch?.compiled
      ),
    });
    // The last network has kernels of 5 and 7 px, too.
    const vgg: Comparison = { ...COMPARISONS.vgg, size: { height: 128, width: 128 }, batch: 1 };
    const { teacher, distill } = COMPARISONS;
    const stages = [teacher, distill].map((c): Comparison => ({ ...c, ...tiny }));
    const report = await bench([forward, step, ...stages, vgg].map(few), { ...plan, repeats: 1 });
    assert("torch" in report.torch);
    for (const { contenders: [own, ...peers] } of report.comparisons) {
      assertEquals(peers.length, 2);
      for (const { values, absent } of peers) {
        assertEquals(absent, undefined);
        // The second result shows that the gradients are the same, too; vgg's update moves the loss by 15 %, and
        // with it what the two round differently.
        for (const [i, tolerance] of [1e-4, 2e-3].entries()) {
          assertAlmostEquals(values![i], own.values![i], tolerance * own.values![i]);
        }
      }
      assertEquals(Math.min(...peers.map(({ ratio }) => ratio!)), 1);
      assert(own.ratio! > 0);
    }
    assert(!benchTable(report).text().includes("pass a Python"));
  },
});

Deno.test({
  name: "PyTorch tells what fails and continues",
  ignore: !hasTorch,
  fn: async () => {
    const peer = await Peer.torch(python, 1);
    try {
      const error = await assertRejects(() => peer.ask({ do: "make", kind: "forward" }), CyclopsError);
      assertStringIncludes(error.message, "KeyError");
      await assertRejects(() => peer.run(), CyclopsError, "says");
    } finally {
      await peer.close();
    }
  },
});

Deno.test("predict is measured beside its network alone", async () => {
  const { rows } = (await measurePredict(1, { counts: [1, 3] })).content;
  assertEquals(rows.map(({ name }) => name), [
    "network alone, batches of 8",
    "predict --format npy",
    "predict --format png",
  ]);
  for (const { cells: { ms, share } } of rows) assert(Number.isFinite(ms) && Number.isFinite(share));
});
