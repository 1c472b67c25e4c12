import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import {
  combineFlipped,
  type Crop,
  cropBox,
  type DepthMetrics,
  evaluate,
  evaluateAll,
  mapOf,
  metricNames,
  type ScoredPoints,
  scoreFrame,
} from "../../lib/evaluation/protocol.ts";
import { readDisparities } from "../../lib/evaluation/results.ts";
import type { Truth } from "../../lib/evaluation/truth.ts";
import { withFolder } from "../_folder.ts";
import { kittiSample, noKittiSample, pointAt, rig, withRoot } from "../data/_kitti_root.ts";

/** A map of one value; 50 px · 0.5 m / 64 px = 0.390625 m of depth at disparity 1. */
const flat = (disparity: number, width = 8, height = 4) => ({
  width,
  height,
  data: new Float32Array(width * height).fill(disparity),
});
const truthOf = (...points: [x: number, y: number, depth: number][]): Truth => ({
  camera: rig,
  xs: Uint16Array.from(points, (p) => p[0]),
  ys: Uint16Array.from(points, (p) => p[1]),
  depths: Float32Array.from(points, (p) => p[2]),
});

Deno.test("the crops are those of the field on KITTI's usual size", () => {
  const size = { width: 1242, height: 375 };
  assertEquals(cropBox("garg", size), { top: 153, bottom: 371, left: 44, right: 1197 });
  assertEquals(cropBox("eigen", size), { top: 124, bottom: 342, left: 44, right: 1197 });
  const cityscapes = { top: 256, bottom: 768, left: 192, right: 1856 };
  assertEquals(cropBox("cityscapes", { width: 2048, height: 819 }), cityscapes);
  assertEquals(cropBox("cityscapes", { width: 2048, height: 700 }), { ...cityscapes, bottom: 700 });
  assertEquals(cropBox("none", size), { top: 0, bottom: 375, left: 0, right: 1242 });
});

Deno.test("a crop keeps its first row and column and drops the ones after its last", () => {
  const { top, bottom, left, right } = cropBox("garg", rig.imageSize);
  const count = (...points: [number, number, number][]) =>
    scoreFrame(truthOf(...points), flat(0.1), [{ crop: "garg", capM: 80 }])[0].points;
  assertEquals(count([left, top, 5], [right - 1, bottom - 1, 5]), 2);
  assertEquals(count([left - 1, top, 5], [left, top - 1, 5], [right, top, 5], [left, bottom, 5]), 0);
});

Deno.test("a disparity becomes meters by focal · baseline / (disparity · width)", () => {
  const [errors] = scoreFrame(truthOf([10, 20, 10]), flat(0.0390625), [{ crop: "none", capM: 80 }]);
  assertEquals(errors.metrics().rmse, 0);
});

Deno.test("points at or beyond the cap do not count; predictions are clamped to it", () => {
  const protocols = [{ crop: "none", capM: 80 }, { crop: "none", capM: 50 }] as const;
  const truth = truthOf([1, 1, 40], [2, 2, 50], [3, 3, 80], [4, 4, 0.0009]);
  const [at80, at50] = scoreFrame(truth, flat(0), protocols); // no disparity: infinitely far
  assertEquals([at80.points, at50.points], [2, 1]);
  assertEquals(at50.metrics().absRel, 0.25); // 50 m for 40 m
  assertAlmostEquals(at80.metrics().absRel, (40 / 40 + 30 / 50) / 2, 1e-12);
});

Deno.test("annotated depth and stereo 2015 count points beyond the cap, against a clamped prediction", () => {
  const truth = truthOf([1, 1, 40], [2, 2, 100]), protocols = [{ crop: "none", capM: 80 }] as const;
  const [errors] = scoreFrame(truth, flat(0), protocols, { uncapped: true });
  assertEquals(errors.points, 2);
  assertAlmostEquals(errors.metrics().absRel, (40 / 40 + 20 / 100) / 2, 1e-12);
});

Deno.test("median scaling multiplies by the medians' ratio inside crop and cap, before clamping", () => {
  const truth = truthOf([1, 1, 10], [2, 2, 30], [3, 3, 20], [4, 4, 40], [5, 5, 90]);
  const protocol = { crop: "none", capM: 80, medianScaling: true } as const;
  const [errors] = scoreFrame(truth, flat(0.0390625), [protocol]); // 10 m everywhere
  assertAlmostEquals(errors.scale, 2.5, 1e-12); // of an even count the mean of the two middle ones
  assertAlmostEquals(errors.metrics().absRel, (15 / 10 + 5 / 30 + 5 / 20 + 15 / 40) / 4, 1e-6);
  assertEquals(scoreFrame(truth, flat(0.0390625), [{ crop: "none", capM: 80 }])[0].scale, 1);
});

Deno.test("points are told with what they are compared with", () => {
  const points: number[][] = [];
  const onPoints = ({ rows, predicted, actual }: ScoredPoints) => {
    points.push([...rows], [...predicted], [...actual]);
  };
  const two = [{ crop: "none", capM: 50 }, { crop: "none", capM: 80 }] as const;
  scoreFrame(truthOf([1, 2, 40], [2, 2, 70]), flat(0), two, { onPoints });
  assertEquals(points, [[2], [50], [40]]);
});

Deno.test("a map is sampled bilinearly at half-pixel centers, the border repeated", () => {
  // Two columns on 64 px: their centres lie at 15.5 and 47.5 px.
  const map = { width: 2, height: 1, data: Float32Array.of(0.25, 0.75) };
  const disparityAt = (x: number) => {
    const [errors] = scoreFrame(truthOf([x, 5, 70]), map, [{ crop: "none", capM: 80 }]);
    return 0.390625 / (70 - errors.metrics().rmse); // every prediction is nearer than 70 m
  };
  assertAlmostEquals(disparityAt(0), 0.25, 1e-6);
  assertAlmostEquals(disparityAt(15), 0.25, 1e-6);
  assertAlmostEquals(disparityAt(31), 0.25 + 0.5 * 15.5 / 32, 1e-6);
  assertAlmostEquals(disparityAt(40), 0.25 + 0.5 * 24.5 / 32, 1e-6);
  assertAlmostEquals(disparityAt(63), 0.75, 1e-6);
});

Deno.test("images are averaged, points are summed, and images without points do not count", async () => {
  const frames = [
    { scan: [...pointAt(21, 21, 10), ...pointAt(31, 21, 10), ...pointAt(41, 21, 10)] },
    { scan: pointAt(21, 21, 20) },
    { scan: pointAt(21, 21, 90) },
  ];
  await withRoot(frames, async (root, pairs) => {
    const done: number[] = [], scores: (readonly [number, number, number])[] = [];
    const { absRel, points, images, protocol } = await evaluate({
      onFrame: ({ index, metrics, points }) => scores.push([index, Math.round(100 * metrics.absRel), points]),
      root,
      pairs,
      disparities: flat(0.0390625),
      crop: "none",
      capM: 80,
      onProgress: (n) => done.push(n),
    });
    assertAlmostEquals(absRel, (0 + 0.5) / 2, 1e-6);
    assertEquals([points, images, done], [4, 2, [1, 2, 3]]);
    assertEquals(scores, [[0, 0, 3], [1, 50, 1]]);
    assert(protocol.includes("LiDAR x") && protocol.includes("0.001 to 80 m"), protocol);
  });
});

Deno.test("each frame meets its own prediction", async () => {
  await withRoot([{ scan: pointAt(21, 21, 10) }, { scan: pointAt(21, 21, 20) }], async (root, pairs) => {
    const data = Float32Array.of(0.0390625, 0.01953125);
    const disparities = { count: 2, width: 1, height: 1, data };
    const { absRel } = await evaluate({ root, pairs, disparities, crop: "none", capM: 80 });
    assertAlmostEquals(absRel, 0, 1e-6);
    const swapped = { ...disparities, data: data.toReversed() };
    const worse = await evaluate({ root, pairs, disparities: swapped, crop: "none", capM: 80 });
    assertAlmostEquals(worse.absRel, 0.75, 1e-6);
  });
});

Deno.test("dense truth evaluates against the depth map", async () => {
  const depth = new Float32Array(64 * 32).fill(20);
  await withRoot([{ scan: pointAt(21, 21, 5), depth }], async (root, pairs) => {
    const input = {
      root,
      pairs,
      disparities: flat(0.0390625),
      truth: "dense",
      crop: "none",
      capM: 80,
    } as const;
    const { absRel, points, protocol } = await evaluate(input);
    assertEquals([absRel, points], [0.5, 64 * 32]);
    assert(protocol.startsWith("dense depth map"), protocol);
  });
});

Deno.test("predictions of mirrored images are mirrored back and combined before they are resized", async () => {
  await withRoot([{ scan: pointAt(2, 21, 10) }], async (root, pairs) => {
    const left = { count: 1, ...flat(0.3, 64, 1) };
    const flipped = { count: 1, ...flat(0.2, 64, 1) };
    flipped.data.fill(0.0390625, 60); // the right border of the mirrored image is our left one
    const plain = await evaluate({ root, pairs, disparities: left, crop: "none", capM: 80 });
    const both = await evaluate({ root, pairs, disparities: left, flipped, crop: "none", capM: 80 });
    assert(plain.absRel > 0.8);
    assertAlmostEquals(both.absRel, 0, 1e-6);
    assert(both.protocol.includes("mirrored"), both.protocol);
  });
});

Deno.test("several protocols in one pass give what each gives alone", async () => {
  const frames = [{ scan: [...pointAt(21, 21, 10), ...pointAt(31, 12, 60)] }];
  await withRoot(frames, async (root, pairs) => {
    const protocols = (["garg", "eigen", "none"] as const).flatMap((
      crop,
    ) => [{ crop, capM: 80 }, { crop, capM: 50 }]);
    const input = { root, pairs, disparities: flat(0.02) };
    const alone = await Promise.all(protocols.map((protocol) => evaluate({ ...input, ...protocol })));
    assertEquals(await evaluateAll(input, protocols), alone);
    assertEquals(alone.map(({ points }) => points), [1, 1, 2, 1, 2, 1]);
  });
});

Deno.test("another number of predictions than frames is refused", async () => {
  await withRoot([{ scan: pointAt(21, 21, 10) }], async (root, pairs) => {
    const two = { count: 2, ...flat(0.1, 1, 2), height: 1, path: "two.npy" },
      one = { count: 1, ...flat(0.1) };
    const run = (disparities: typeof one, flipped?: typeof one) =>
      evaluate({ root, pairs, disparities, flipped, crop: "none", capM: 80 });
    await assertRejects(() => run(two), CyclopsError, "two.npy: found 2 predictions, expected 1");
    await assertRejects(() => run(one, two), CyclopsError, "two.npy: found 2 predictions, expected 1");
    await assertRejects(() => run({ count: 1, ...flat(NaN) }), CyclopsError, "prediction 0");
  });
});

Deno.test("a frame that is listed twice is named instead of counted twice", async () => {
  await withRoot([{ scan: pointAt(21, 21, 10) }, { scan: pointAt(21, 21, 10) }], async (root, [a, b]) => {
    const run = evaluate({ root, pairs: [a, b, a], disparities: flat(0.1), crop: "none", capM: 80 });
    await assertRejects(() => run, CyclopsError, `${a.left} is listed twice, as frames 0 and 2`);
  });
});

Deno.test("frames without any point inside crop and cap give an error, not NaN", async () => {
  await withRoot([{ scan: pointAt(21, 21, 60) }], async (root, pairs) => {
    const run = evaluate({ root, pairs, disparities: flat(0.1), crop: "none", capM: 50 });
    await assertRejects(() => run, CyclopsError, "none of the 1 frames has a known depth below 50 m");
  });
});

interface Expected extends DepthMetrics {
  readonly capMetres: number;
  readonly crop: Crop;
  readonly points: number;
  readonly images: number;
}

Deno.test(
  "on real KITTI frames all six rows of the reference come out",
  { ignore: noKittiSample },
  async () => {
    const root = join(kittiSample, "raw");
    const rows: Expected[] = JSON.parse(await Deno.readTextFile(join(root, "expected.json"))).rows;
    assertEquals(rows.length, 6);
    const { pairs } = await openDataset({ data: root, split: join(root, "split.txt"), side: "left" });
    const disparities = await readDisparities(join(root, "disparities.npy"));
    const protocols = rows.map(({ crop, capMetres }) => ({ crop, capM: capMetres }));
    const found = await evaluateAll({ root, pairs, disparities }, protocols);
    for (const [i, row] of rows.entries()) {
      for (const name of metricNames) {
        assertAlmostEquals(found[i][name], row[name], 1e-6, `${row.crop} ${row.capMetres} m: ${name}`);
      }
      assertEquals([found[i].points, found[i].images], [row.points, row.images]);
    }
  },
);

Deno.test("the evaluation does not need TensorFlow", async () => {
  const path = join(import.meta.dirname!, "../../lib/evaluation/protocol.ts");
  const { stdout, success } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", path] })
    .output();
  const modules: { specifier: string }[] = JSON.parse(new TextDecoder().decode(stdout)).modules;
  assert(success && modules.length > 8);
  assertEquals(modules.filter(({ specifier }) => /tensorflow|backend/.test(specifier)), []);
});

const map = (width: number, values: readonly number[]) => ({
  width,
  height: values.length / width,
  data: Float32Array.from(values),
});

Deno.test("predictions are read as one map per frame", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "p.npy"), data = Float32Array.of(0, 0.1, 0.2, 0.3, 0.4, 1);
    await writeNpy(path, { shape: [2, 1, 3], data });
    const disparities = await readDisparities(path);
    assertEquals(disparities, { count: 2, height: 1, width: 3, data, path });
    assertEquals(mapOf(disparities, 1), map(3, [0.3, 0.4, 1].map(Math.fround)));
  });
});

Deno.test("predictions of another rank, negative or in px are refused", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "p.npy");
    const refuse = async (shape: number[], values: number[], said: string) => {
      await writeNpy(path, { shape, data: Float32Array.from(values) });
      const { message } = await assertRejects(() => readDisparities(path), CyclopsError, path);
      assert(message.includes(said), message);
    };
    await refuse([2, 2], [0, 0, 0, 0], "its shape is (2, 2), expected (frames, height, width)");
    await refuse([1, 1, 2, 1], [0, 0], "its shape is (1, 1, 2, 1)");
    await refuse([0, 2, 2], [], "its shape is (0, 2, 2)");
    await refuse([2, 2, 2], [0, 0, 0, 0, 0, 0, -0.5, 0], "prediction 1, row 1, column 0 is -0.5");
    await refuse(
      [1, 1, 2],
      [0.1, 30],
      "prediction 0, row 0, column 1 is 30, expected disparities as fractions",
    );
    await refuse([1, 1, 2], [0.1, 30], "if these are px, divide");
  });
});

Deno.test("flip post-processing mirrors back and takes each side from the prediction that sees it", () => {
  // 101 columns: column x lies at x %.
  const own = map(101, Array<number>(101).fill(0));
  const flipped = map(101, Array.from({ length: 101 }, (_, x) => (x === 30 ? 2 : 1)));
  const { data } = combineFlipped(own, flipped);
  for (let x = 0; x <= 5; x++) assertEquals(data[x], 1); // the left border is the mirrored image's alone
  assertAlmostEquals(data[7], 0.8, 1e-6); // ramp from 1 at 5 % to 1/2 at 10 %
  assertAlmostEquals(data[10], 0.5, 1e-6);
  assertEquals(data[50], 0.5);
  assertEquals(data[70], 1); // column 30 of the mirrored map
  assertAlmostEquals(data[93], 0.2, 1e-6);
  for (let x = 95; x <= 100; x++) assertEquals(data[x], 0);
});

Deno.test("a prediction that mirrors exactly is left as it is", () => {
  const values = Array.from({ length: 60 }, (_, i) => i / 64);
  const mirrored = Array.from({ length: 60 }, (_, i) => values[Math.floor(i / 20) * 20 + 19 - i % 20]);
  const { data } = combineFlipped(map(20, values), map(20, mirrored));
  for (const [i, value] of values.entries()) assertAlmostEquals(data[i], value, 1e-7);
});

Deno.test("only maps of one size are combined", () => {
  assertThrows(
    () => combineFlipped(map(2, [0, 0]), map(1, [0, 0])),
    CyclopsError,
    "found 2×1 px, expected equal",
  );
});
