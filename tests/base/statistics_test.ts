import { assertEquals } from "../_assert.ts";
import { median } from "../../lib/base/statistics.ts";

Deno.test("the median is the middle of the sorted values, which stay as they were", () => {
  const values = [10, 9, 100];
  assertEquals([median(values), median([4, 1, 3, 2]), median([7]), median([])], [10, 3, 7, NaN]);
  assertEquals(values, [10, 9, 100]);
});
