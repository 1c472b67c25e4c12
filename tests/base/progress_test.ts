import { assert, assertEquals, assertStringIncludes } from "../_assert.ts";
import { Progress, setProgressSink, shortDuration } from "../../lib/base/terminal.ts";

const details = ["loss 0.274", "abs rel 0.1712", "photo 0.26", "cons 0.011", "smooth 0.0097", "cycle 0.14"];

/** What a terminal of so many columns shows of a line, without control characters. */
function shown(columns: number): string {
  let last = "";
  const progress = new Progress({
    label: "half-cycle",
    total: 1200,
    terminal: true,
    columns,
    write: (text) => last = text,
  });
  for (let done = 630; done <= 640; done++) progress.update(done, ...details);
  progress.status(...details);
  // deno-lint-ignore no-control-regex
  return last.replace(/\r|\x1b\[2K/g, "");
}

Deno.test("a progress line is never longer than the terminal is wide, and keeps what matters most whole", () => {
  for (const columns of [20, 40, 60, 80, 100, 120, 160, 240]) {
    const line = shown(columns);
    assert(line.length < columns, `${line.length} letters for ${columns} columns: ${line}`);
    assert(line.startsWith("half-cycle  █"), line);
    if (columns >= 60) assertStringIncludes(line, "640/1200 steps");
    if (columns >= 80) assertStringIncludes(line, "loss 0.274");
    if (columns >= 80) assertStringIncludes(line, " left");
    // What does not fit is left out whole.
    const kept = line.split("  ").filter((part) => /^[a-z].* 0\.\d/.test(part));
    assertEquals(kept, details.slice(0, kept.length));
  }
  assertStringIncludes(shown(240), details.join("  "));
  assertEquals(shown(240).match(/[█░]+/)![0].length, 24);
  assert(shown(80).match(/[█░]+/)![0].length >= 10);
});

Deno.test("the time left is not guessed from the first steps, which may include a set-up", () => {
  let line = "";
  const progress = new Progress({
    label: "x",
    total: 9,
    terminal: true,
    columns: 80,
    write: (t) => line = t,
  });
  for (let done = 1; done <= 3; done++) {
    progress.update(done);
    progress.status("working");
    assert(!line.includes("left"), line);
  }
  for (let done = 4; done <= 6; done++) progress.update(done);
  progress.status("validating");
  assertStringIncludes(line, "6/9 steps");
  assertStringIncludes(line, "validating");
  assertStringIncludes(line, "left");
});

Deno.test("in a log there are whole lines, no bar, no control characters", () => {
  const written: string[] = [];
  const progress = new Progress({
    label: "x",
    total: 10,
    terminal: false,
    logEvery: 0,
    write: (t) => written.push(t),
  });
  progress.update(3, ...details);
  progress.status("nothing of this");
  progress.log("a warning");
  progress.update(4);
  progress.finish();
  const [first, warning, second, end] = written;
  assert(first.startsWith("x  3/10 steps") && first.endsWith(`${details.join("  ")}\n`), first);
  assertEquals(warning, "a warning\n");
  assert(second.startsWith("x  4/10 steps"), second);
  assert(/^x {2}4 steps in .*\n$/.test(end), end);
  // deno-lint-ignore no-control-regex
  assert(!written.some((text) => /[\x1b\r█]/.test(text)));
});

Deno.test("a sink gets the lines instead, the last one marked", () => {
  const seen: unknown[] = [];
  setProgressSink(() => ({ line: (text, last) => seen.push([text, last]), log: (text) => seen.push(text) }));
  try {
    const progress = new Progress({ label: "x" });
    progress.update(1);
    progress.log("a warning");
    progress.finish("done");
    assertEquals([seen.length, seen[1], seen[2]], [3, "a warning", ["done", true]]);
  } finally {
    setProgressSink(undefined);
  }
});

Deno.test("durations are short: whole seconds, units that are 0 left out", () => {
  const shown = [0, 400, 45_000, 200_000, 3_600_000, 90_061_000].map(shortDuration);
  assertEquals(shown, ["0s", "0s", "45s", "3m 20s", "1h", "1d 1h 1m 1s"]);
});
