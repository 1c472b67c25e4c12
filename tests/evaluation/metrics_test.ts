import { assert, assertAlmostEquals, assertEquals, assertThrows } from "../_assert.ts";
import { METRIC_COLUMNS } from "../../lib/charts/table.ts";
import { DepthErrors, depthMetrics, meanMetrics, metricNames } from "../../lib/evaluation/protocol.ts";

Deno.test("the metrics are those of the field, worked out by hand", () => {
  const { absRel, sqRel, rmse, rmseLog, a1, a2, a3 } = depthMetrics([12, 10, 40, 5], [10, 20, 40, 2]);
  assertAlmostEquals(absRel, (2 / 10 + 10 / 20 + 0 + 3 / 2) / 4, 1e-12);
  assertAlmostEquals(sqRel, (4 / 10 + 100 / 20 + 0 + 9 / 2) / 4, 1e-12);
  assertAlmostEquals(rmse, Math.sqrt((4 + 100 + 0 + 9) / 4), 1e-12);
  const logs = [Math.log(1.2), Math.log(2), 0, Math.log(2.5)];
  assertAlmostEquals(rmseLog, Math.sqrt(logs.reduce((sum, l) => sum + l * l, 0) / 4), 1e-12);
  assertEquals([a1, a2, a3], [0.5, 0.5, 0.5]);
});

Deno.test("the thresholds count ratios either way and exclude the limit itself", () => {
  assertEquals(depthMetrics([1.25, 1, 1.24], [1, 1.25, 1]).a1, 1 / 3);
  assertEquals(depthMetrics([1.5, 1, 1.6], [1, 1.5, 1]).a2, 2 / 3);
  assertEquals(depthMetrics([1.9, 1, 2], [1, 1.9, 1]).a3, 2 / 3);
});

Deno.test("a perfect prediction has no error", () => {
  assertEquals(depthMetrics([1, 2], [1, 2]), {
    absRel: 0,
    sqRel: 0,
    rmse: 0,
    rmseLog: 0,
    a1: 1,
    a2: 1,
    a3: 1,
  });
});

Deno.test("images count alike, however many points they have", () => {
  const mean = meanMetrics([depthMetrics([2], [1]), depthMetrics([1, 1, 1], [1, 1, 1])]);
  assertEquals([mean.absRel, mean.a1, mean.rmse], [0.5, 0.5, 0.5]);
});

Deno.test("no points give no number", () => {
  assert(Number.isNaN(new DepthErrors([], []).metrics().absRel));
  assertThrows(() => depthMetrics([1], [1, 2]), RangeError, "1 predicted and 2 true");
});

Deno.test("tables have a column for every metric: errors are better small, shares of good points large", () => {
  assertEquals(METRIC_COLUMNS.map(({ key }) => key), [...metricNames]);
  const errors = METRIC_COLUMNS.filter(({ better }) => better === "lower").map(({ key }) => key);
  assertEquals(errors, ["absRel", "sqRel", "rmse", "rmseLog"]);
});
