import { assertAlmostEquals, assertEquals, assertThrows } from "../_assert.ts";
import { selectBackend } from "../../lib/backend/select.ts";
import { tf } from "../../lib/backend/tf.ts";
import { Random } from "../../lib/base/random.ts";
import { scoreFrame } from "../../lib/evaluation/protocol.ts";
import { depthMetrics } from "../../lib/evaluation/metrics.ts";
import {
  absRel,
  depthsAt,
  guessCamera,
  imageFrom,
  imageTensor,
  lessonSize,
  mapFrom,
  mapTensor,
  tensorImage,
  verdict,
} from "../../lib/lessons/mod.ts";
import { rig } from "../data/_kitti_root.ts";

await selectBackend();
const random = new Random(3);

Deno.test("images and maps survive the way to tensors and back, which leaves none", () => {
  const before = tf.memory().numTensors;
  const image = { width: 5, height: 3, data: Uint8Array.from({ length: 45 }, () => random.below(256)) };
  assertEquals(imageFrom(() => imageTensor(image)), image);
  const map = { width: 4, height: 2, data: Float32Array.from({ length: 8 }, () => random.next()) };
  assertEquals(mapFrom(() => mapTensor(map)), map);
  assertEquals(tf.memory().numTensors, before);
  const wrong = mapTensor(map);
  assertThrows(
    () => tensorImage(wrong),
    RangeError,
    "a tensor of shape [1,2,4,1] as an image: wanted 3 channels",
  );
  wrong.dispose();
});

Deno.test("depths at the laser's points are those that the evaluator scores", () => {
  const count = 200;
  const truth = {
    camera: rig,
    xs: Uint16Array.from({ length: count }, () => random.below(64)),
    ys: Uint16Array.from({ length: count }, () => random.below(32)),
    depths: Float32Array.from({ length: count }, () => 1 + 50 * random.next()),
  };
  const map = {
    width: 13,
    height: 7,
    data: Float32Array.from({ length: 91 }, () => 0.01 + 0.2 * random.next()),
  };
  const [errors] = scoreFrame(truth, map, [{ crop: "none", capM: 80 }]);
  const { absRel: ours } = depthMetrics(
    depthsAt(truth, map).map((depth) => Math.min(80, depth)),
    truth.depths,
  );
  assertAlmostEquals(ours, errors.metrics().absRel, 1e-6);
});

Deno.test("abs rel counts known depths below 80 m alone", () => {
  const camera = { ...rig, imageSize: { width: 4, height: 1 } }; // depth = 50 · 0.5 / (4 d)
  const depth = { width: 4, height: 1, data: Float32Array.of(10, 0, 90, 20) };
  const disparity = { width: 4, height: 1, data: Float32Array.of(6.25 / 11, 1, 1, 6.25 / 16) };
  const frame = {
    depth,
    camera: { ...camera, rectification: [], leftProjection: [], velodyneToImage: [] },
  };
  assertAlmostEquals(absRel(disparity, frame), (0.1 + 0.2) / 2, 1e-6);
});

Deno.test("a photograph keeps its proportions, in sides that can be halved three times", () => {
  assertEquals(lessonSize({ width: 1242, height: 375 }), { width: 416, height: 128 });
  assertEquals(lessonSize({ width: 3000, height: 4000 }), { width: 416, height: 552 });
  assertEquals(lessonSize({ width: 4000, height: 10 }), { width: 416, height: 32 });
});

Deno.test("a guessed camera sees the angle that was asked for", () => {
  const { focalPx, centerPx } = guessCamera({ width: 200, height: 100 }, 90);
  assertAlmostEquals(focalPx, 100, 1e-9);
  assertEquals(centerPx, { x: 99.5, y: 49.5 });
});

Deno.test("a verdict counts what came out as expected and says why something did not", () => {
  const table = verdict([
    { what: "one", seen: 1, expected: "1", match: true },
    { what: "two", seen: 3, expected: "2", match: false, note: "it is odd" },
  ]);
  assertEquals(table.content.title, "1 of 2 as expected");
  assertEquals(table.content.rows.map(({ cells }) => cells.match), ["yes", "no"]);
  assertEquals(table.content.notes, ["two: it is odd"]);
});
