import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import { combineFlipped, mapOf, readDisparities } from "../../lib/evaluation/disparities.ts";
import { withFolder } from "../_folder.ts";

const map = (width: number, values: readonly number[]) => ({
  width,
  height: values.length / width,
  data: Float32Array.from(values),
});

Deno.test("predictions are read as one map a frame", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "p.npy"), data = Float32Array.of(0, 0.1, 0.2, 0.3, 0.4, 1);
    await writeNpy(path, { shape: [2, 1, 3], data });
    const disparities = await readDisparities(path);
    assertEquals(disparities, { count: 2, height: 1, width: 3, data });
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
    await refuse([2, 2], [0, 0, 0, 0], "its shape is (2, 2), wanted (frames, height, width)");
    await refuse([1, 1, 2, 1], [0, 0], "its shape is (1, 1, 2, 1)");
    await refuse([0, 2, 2], [], "its shape is (0, 2, 2)");
    await refuse([2, 2, 2], [0, 0, 0, 0, 0, 0, -0.5, 0], "prediction 1, row 1, column 0 is -0.5");
    await refuse(
      [1, 1, 2],
      [0.1, 30],
      "prediction 0, row 0, column 1 is 30, wanted disparities as a fraction",
    );
    await refuse([1, 1, 2], [0.1, 30], "are these px?");
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
    "1×2 and 2×1, wanted equal",
  );
});
