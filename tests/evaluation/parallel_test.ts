import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import { ErrorProfile } from "../../lib/evaluation/analysis.ts";
import { extraMetrics } from "../../lib/evaluation/dense.ts";
import { scoreInThreads, startThreads } from "../../lib/evaluation/parallel.ts";
import { openPredictions } from "../../lib/evaluation/predictions.ts";
import { evaluateAll, type FrameScore } from "../../lib/evaluation/protocol.ts";
import { assert, assertEquals, assertRejects } from "../_assert.ts";
import { pointAt, withRoot } from "../data/_kitti_root.ts";

const protocol = { crop: "none", capM: 80 } as const;

Deno.test("threads find the numbers of one, in its order, whatever their number", async () => {
  const frames = Array.from({ length: 24 }, (_, i) => ({
    scan: [...pointAt(21 + i % 30, 21, 10 + i), ...pointAt(31, 12 + i % 9, 20 + 1.4 * i)],
    depth: new Float32Array(64 * 32).fill(5 + i),
  }));
  await withRoot(frames, async (root, pairs) => {
    const path = join(root, "p.npy");
    await writeNpy(path, {
      shape: [24, 2, 3],
      data: Float32Array.from({ length: 144 }, (_, i) => i % 97 + 1),
    });
    for (const truth of ["lidar", "dense"] as const) {
      const measure = async (threads?: number) => {
        using disparities = await openPredictions(path, "monodepth2");
        const { unit } = disparities, profile = new ErrorProfile(), scores: FrameScore[] = [];
        const job = { root, pairs, truth, protocol };
        const input = {
          ...job,
          disparities,
          extra: extraMetrics,
          onFrame: (score: FrameScore) => scores.push(score),
          onPoints: profile.add,
        };
        const [found] = await evaluateAll(
          input,
          [protocol],
          threads === undefined ? undefined : scoreInThreads(
            startThreads(24, threads),
            { ...job, disparities: { path, unit } },
            input,
            profile,
          ),
        );
        return { found, scores, rows: profile.byRow, distances: profile.byDistance };
      };
      const alone = await measure();
      assert(alone.rows.length > 0);
      assertEquals(alone.found.extra !== undefined, truth === "dense");
      for (const threads of [0, 1, 2]) assertEquals(await measure(threads), alone);
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
    using disparities = await openPredictions(path, "width");
    const job = { root, pairs, truth: "lidar", protocol, disparities: { path, unit: "width" } } as const;
    for (const threads of [0, 1]) {
      const seen: number[] = [];
      const run = async () => {
        const input = { ...job, disparities };
        for await (
          const { index } of scoreInThreads(startThreads(4, threads), job, input, new ErrorProfile())
        ) {
          seen.push(index);
        }
      };
      await assertRejects(run, CyclopsError, "0000000002.bin: it has 17 bytes");
      assertEquals(seen, [0, 1]);
    }
  });
});

Deno.test("what must be checked first ends the evaluation", async () => {
  await withRoot([{ scan: pointAt(21, 21, 10) }], async (root, pairs) => {
    const path = join(root, "p.npy");
    await writeNpy(path, { shape: [1, 1, 1], data: Float32Array.of(0.1) });
    using disparities = await openPredictions(path, "width");
    const job = { root, pairs, truth: "lidar", protocol, disparities: { path, unit: "width" } } as const;
    const refuse = () => Promise.reject(new CyclopsError("another unit"));
    const results = scoreInThreads(
      startThreads(1, 1),
      job,
      { ...job, disparities },
      new ErrorProfile(),
      refuse,
    );
    await assertRejects(
      () => evaluateAll({ ...job, disparities }, [protocol], results),
      CyclopsError,
      "another unit",
    );
  });
});

Deno.test("few frames are scored by one thread", () => {
  assertEquals(startThreads(63).length, 0);
});
