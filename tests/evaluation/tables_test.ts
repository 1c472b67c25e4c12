import { assertEquals } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { bestRows, metricsTable } from "../../lib/evaluation/tables.ts";

const mean = { absRel: 0.36, sqRel: 4, rmse: 8, rmseLog: 0.4, a1: 0.5, a2: 0.75, a3: 0.9 };
const student = { absRel: 0.14, sqRel: 1, rmse: 9, rmseLog: 0.2, a1: 0.8, a2: 0.9, a3: 0.9 };
const rows = [{ name: "train-set mean", metrics: mean }, { name: "student", metrics: student }];

Deno.test("the best of a metric is the smallest error and the largest share; equals share it", () => {
  const { absRel, rmse, a1, a3 } = bestRows(rows);
  assertEquals([absRel, rmse, a1, a3], [[1], [0], [1], [0, 1]]);
});

Deno.test("a table lines up and stars the winners", () => {
  const lines = stripAnsiCode(metricsTable(rows)).split("\n");
  assertEquals(lines[1].split(/\s+/).slice(2), [
    "0.3600",
    "4.0000",
    "8.0000*",
    "0.4000",
    "0.5000",
    "0.7500",
    "0.9000*",
  ]);
  assertEquals(lines[2].split(/\s+/).slice(1), [
    "0.1400*",
    "1.0000*",
    "9.0000",
    "0.2000*",
    "0.8000*",
    "0.9000*",
    "0.9000*",
  ]);
  assertEquals(lines[1].indexOf("0.3600"), lines[2].indexOf("0.1400"));
});

Deno.test("a single row wins nothing", () => {
  assertEquals(metricsTable(rows.slice(0, 1)).includes("*"), false);
});
