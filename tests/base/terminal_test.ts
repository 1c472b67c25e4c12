import { assertEquals } from "../_assert.ts";
import { formatBytes, shortDuration } from "../../lib/base/terminal.ts";

Deno.test("sizes have three significant digits, in powers of 1000 or of 1024", () => {
  const bytes = [0, 999, 1000, 1234, 207_208_420, 6e9];
  assertEquals(bytes.map((n) => formatBytes(n)), ["0 B", "999 B", "1 kB", "1.23 kB", "207 MB", "6 GB"]);
  assertEquals(formatBytes(3000, { binary: true }), "2.93 KiB");
});

Deno.test("durations leave out what is zero", () => {
  const milliseconds = [0, 400, 45_000, 200_000, 3_600_000, 3_605_000, 90_061_000];
  assertEquals(milliseconds.map(shortDuration), ["0s", "0s", "45s", "3m 20s", "1h", "1h 5s", "1d 1h 1m 1s"]);
});
