import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import { ErrorProfile } from "../../lib/evaluation/analysis.ts";
import { extraMetrics } from "../../lib/evaluation/dense.ts";
import { scoreInThreads, startThreads, threadsFor } from "../../lib/evaluation/parallel.ts";
import { openPredictions } from "../../lib/evaluation/predictions.ts";
import { evaluateAll, type FrameScore } from "../../lib/evaluation/protocol.ts";
import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";

const protocol = { crop: "none", capM: 80 } as const;

Deno.test("threads find the numbers of one, in its order, whatever their number", async () => {
  const frames = Array.from({ length: 7 }, (_, i) => ({
    scan: [...pointAt(21 + i, 21, 10 + i), ...pointAt(31, 12 + i, 20 + 7 * i)],
    depth: new Float32Array(64 * 32).fill(5 + i),
  }));
  await withRoot(frames, async (root, pairs) => {
    const path = join(root, "p.npy");
    await writeNpy(path, { shape: [7, 2, 3], data: Float32Array.from({ length: 42 }, (_, i) => i + 1) });
    for (const truth of ["lidar", "dense"] as const) {
      const measure = async (threads: number) => {
        using disparities = await openPredictions(path, "monodepth2");
        const { unit } = disparities, profile = new ErrorProfile(), scores: FrameScore[] = [];
        const input = { root, pairs, truth, disparities, onFrame: (score: FrameScore) => scores.push(score) };
        const job = { root, pairs, truth, protocol, disparities: { path, unit } };
        const [found] = await evaluateAll(
          { ...input, extra: extraMetrics, onPoints: profile.add },
          [protocol],
          threads
            ? scoreInThreads({ ...job, flipped: undefined }, startThreads(threads), profile)
            : undefined,
        );
        return { found, scores, rows: profile.byRow, distances: profile.byDistance };
      };
      const alone = await measure(0);
      assert(alone.rows.length > 0);
      assertEquals(alone.found.extra !== undefined, truth === "dense");
      for (const threads of [1, 2, 3]) assertEquals(await measure(threads), alone);
    }
  });
});

Deno.test("a bad file is named at its frame, whichever thread met it", async () => {
  const frames = Array.from({ length: 4 }, () => ({ scan: pointAt(21, 21, 10) }));
  await withRoot(frames, async (root, pairs) => {
    const path = join(root, "p.npy");
    await writeNpy(path, { shape: [4, 1, 1], data: Float32Array.of(0.1, 0.1, 0.1, 0.1) });
    for (const frame of [2, 3]) {
      await Deno.truncate(
        join(root, pairs[frame].left.replace("image_02", "velodyne_points").replace("png", "bin")),
        17,
      );
    }
    const job = { root, pairs, truth: "lidar", protocol, disparities: { path, unit: "width" } } as const;
    const seen: number[] = [];
    const run = async () => {
      for await (const { index } of scoreInThreads(job, startThreads(2), new ErrorProfile())) {
        seen.push(index);
      }
    };
    await assertRejects(run, CyclopsError, "0000000002.bin: it has 17 bytes");
    assertEquals(seen, [0, 1]);
  });
});

Deno.test("few frames are scored by one thread", () => {
  assertEquals([threadsFor(1), threadsFor(64)], [1, 1]);
  assert(threadsFor(697) <= 4);
});
