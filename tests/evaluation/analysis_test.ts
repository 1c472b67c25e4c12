import { Random } from "../../lib/base/random.ts";
import { bootstrapMeans, compareFrames, driveOf, ErrorProfile } from "../../lib/evaluation/analysis.ts";
import { depthMetrics, type FrameScore } from "../../lib/evaluation/protocol.ts";
import { assert, assertAlmostEquals, assertEquals } from "../_assert.ts";

const bootstrapMean = (values: readonly number[], groups?: readonly string[]) =>
  bootstrapMeans(values.map((value) => ({ value })), groups).value;

Deno.test("the bootstrap's interval is that of the normal distribution where that applies, and always the same", () => {
  const random = new Random(4), values = Array.from({ length: 400 }, () => random.normal(10, 2));
  const { mean, low, high } = bootstrapMean(values);
  assertAlmostEquals(mean, 10, 0.3);
  assertAlmostEquals(high - low, 2 * 1.96 * 2 / 20, 0.06);
  assert(low < mean && mean < high);
  assertEquals(bootstrapMean(values), { mean, low, high });
});

Deno.test("means of several measurements are those of each alone", () => {
  const random = new Random(1), a = Array.from({ length: 30 }, () => random.normal()), b = a.map(Math.abs);
  const groups = a.map((_, i) => String(i % 7));
  const together = bootstrapMeans(a.map((_, i) => ({ a: a[i], b: b[i] })), groups);
  assertEquals(together, { a: bootstrapMean(a, groups), b: bootstrapMean(b, groups) });
});

Deno.test("images of one drive count as the few observations that they are", () => {
  const random = new Random(2), drives = Array.from({ length: 20 }, () => random.normal());
  const values = drives.flatMap((value) => Array<number>(25).fill(value)),
    groups = values.map((_, i) => String(i % 500 / 25 | 0));
  const alone = bootstrapMean(values), together = bootstrapMean(values, groups);
  assertAlmostEquals((together.high - together.low) / (alone.high - alone.low), 5, 1);
  // Too few drives say nothing of other drives.
  assertEquals(bootstrapMean(values, groups.map((group) => String(Number(group) % 4))), alone);
});

const frame = (left: string, predicted: number): FrameScore => ({
  index: 0,
  pair: { left, right: left },
  metrics: depthMetrics([predicted], [10]),
  points: 1,
  scale: 1,
});

Deno.test("predictions are compared frame by frame, on the frames that both have", () => {
  const { frames, better, difference } = compareFrames(
    [frame("a", 11), frame("b", 13), frame("c", 12), frame("x", 19)],
    [frame("b", 14), frame("a", 12), frame("c", 11), frame("y", 10)],
  );
  assertEquals([frames, better], [3, 2 / 3]);
  assertAlmostEquals(difference.absRel.mean, (-0.1 - 0.1 + 0.1) / 3, 1e-12);
  assert(difference.absRel.low < difference.absRel.mean && difference.absRel.high > difference.absRel.mean);
});

Deno.test("a drive is what images have in common", () => {
  const path = "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png";
  assertEquals([driveOf(path), driveOf("left/1.png"), driveOf("1.png")], [
    "2011_09_26/2011_09_26_drive_0002_sync",
    "left",
    "",
  ]);
});

Deno.test("errors are told by distance and by row", () => {
  const profile = new ErrorProfile(), size = { width: 10, height: 50 };
  const points = (rows: number[], predicted: number[], actual: number[]) => ({
    rows: Uint16Array.from(rows),
    predicted: Float64Array.from(predicted),
    actual: Float32Array.from(actual),
  });
  profile.add(points([0, 49], [6, 3], [4, 4]), size);
  const other = new ErrorProfile(); // of another thread
  other.add(points([49], [90], [100]), size);
  profile.merge(other.sums);
  assertEquals(profile.byDistance, [
    { from: 0, to: 5, points: 2, absRel: 0.375, bias: 0.125 },
    { from: 80, to: Infinity, points: 1, absRel: 0.1, bias: -0.1 },
  ]);
  assertEquals(profile.byRow.map(({ from, points, absRel }) => [from, points, absRel]), [[0, 1, 0.5], [
    0.96,
    2,
    (0.25 + 0.1) / 2,
  ]]);
});
