import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "../_assert.ts";
import { hash32, median, Random } from "../../lib/base/random.ts";

const draw = (random: Random, count: number) => Array.from({ length: count }, () => random.next());

Deno.test("the same seed gives the same numbers, on every machine", () => {
  assertEquals(draw(new Random(7), 5), draw(new Random(7), 5));
  assertNotEquals(draw(new Random(7), 5), draw(new Random(8), 5));
  assertNotEquals(draw(new Random(1), 5), draw(new Random(1 + 2 ** 32), 5));
  // Street data and initial weights hang on these; changing them changes every result.
  assertEquals(draw(new Random(1), 3).map((x) => Math.round(x * 1e6)), [537443, 454165, 82430]);
});

Deno.test("numbers are uniform, and normal ones have their mean and deviation", () => {
  const random = new Random(3);
  const values = draw(random, 20_000);
  assert(values.every((v) => v >= 0 && v < 1));
  assertAlmostEquals(values.reduce((a, b) => a + b) / values.length, 0.5, 0.01);
  const normal = Array.from({ length: 20_000 }, () => random.normal(2, 3));
  const mean = normal.reduce((a, b) => a + b) / normal.length;
  assertAlmostEquals(mean, 2, 0.1);
  assertAlmostEquals(Math.sqrt(normal.reduce((s, v) => s + (v - mean) ** 2, 0) / normal.length), 3, 0.1);
  const counts = [0, 0, 0];
  for (let i = 0; i < 3000; i++) counts[random.below(3)]++;
  assert(counts.every((n) => n > 850 && n < 1150));
});

Deno.test("a fork depends on its label and on the parent's state, and leaves the parent alone", () => {
  const parent = new Random(5), untouched = new Random(5);
  assertNotEquals(draw(parent.fork("a"), 4), draw(parent.fork("b"), 4));
  assertEquals(draw(parent.fork("a"), 4), draw(parent.fork("a"), 4));
  assertEquals(draw(parent, 4), draw(untouched, 4));
});

Deno.test("shuffling keeps every element", () => {
  const shuffled = new Random(2).shuffle([1, 2, 3, 4, 5, 6, 7, 8]);
  assertEquals([...shuffled].sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
  assertNotEquals(shuffled, [1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("the hash is FNV-1a", () => {
  assertEquals(hash32(""), 0x811c9dc5);
  assertEquals(hash32("a"), 0xe40c292c);
});

Deno.test("the median is the middle of the sorted values, which stay as they were", () => {
  const values = [10, 9, 100];
  assertEquals([median(values), median([4, 1, 3, 2]), median([7]), median([])], [10, 3, 7, NaN]);
  assertEquals(values, [10, 9, 100]);
});
