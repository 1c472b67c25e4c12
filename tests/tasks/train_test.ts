import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import { exists } from "../../lib/base/files.ts";
import { findCheckpoint, loadCheckpoint, scanCheckpoints } from "../../lib/training/checkpoint.ts";
import { readMetrics } from "../../lib/training/records.ts";
import { withFolder, writePairs } from "../data/_pairs.ts";
import { tinyStreet } from "../training/_runs.ts";

const project = join(import.meta.dirname!, "../..");

/** A training in a process of its own. */
class Training implements Disposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #out: Promise<string>;
  readonly #seen: string[] = [];

  /** @param how `deno task train` with its own permissions, or the process itself, which alone can be killed. */
  constructor(how: "task" | "process", ...args: string[]) {
    const command = how === "task" ? ["task", "--quiet", "train"] : ["run", "-A", "tasks/train.ts"];
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [...command, ...args],
      cwd: project,
      env: { NO_COLOR: "1" },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#lines = this.#process.stderr.pipeThrough(new TextDecoderStream()).getReader();
    this.#out = new Response(this.#process.stdout).text();
  }

  /** Waits until standard error has said something. */
  async says(text: string): Promise<void> {
    while (!this.#seen.join("").includes(text)) {
      const { value, done } = await this.#lines.read();
      assert(!done, `the training ended before it said "${text}":\n${this.#seen.join("")}`);
      this.#seen.push(value);
    }
  }

  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Leaves no training behind when a test fails. */
  [Symbol.dispose](): void {
    try {
      // Not SIGKILL: `deno task` could not pass that on.
      this.#process.kill("SIGTERM");
    } catch { /* It has ended. */ }
  }

  /** Waits for the end. */
  async end(): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
    for (let read = await this.#lines.read(); !read.done; read = await this.#lines.read()) {
      this.#seen.push(read.value);
    }
    return { code: (await this.#process.status).code, out: await this.#out, err: this.#seen.join("") };
  }
}

Deno.test("--processes trains with several on this machine, the others' output apart", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "runs", "run");
    await writePairs(data, 4, { width: 64, height: 32 });
    const options = [
      "--size",
      "32x64",
      "--coarse",
      "0",
      "--batch",
      "2",
      "--workers",
      "0",
      "--validate-every",
      "0",
    ];
    using training = new Training(
      "task",
      ...["--data", data, "--out", out, "--processes", "2", "--steps", "3", "--eager", ...options],
    );
    const { code, out: printed, err } = await training.end();
    assertEquals([code, printed.trim()], [0, join(out, "checkpoints", "step-000003")]);
    assertStringIncludes(err, "half-cycle: finished at step 3");
    const other = await Deno.readTextFile(`${out}.worker-1.log`);
    assertStringIncludes(other, "half-cycle: finished at step 3");
    assert(!other.includes("saved"), other);
    using odd = new Training(
      "task",
      "--data",
      data,
      "--out",
      out + "2",
      "--processes",
      "2",
      "--steps",
      "3",
      "--batch",
      "3",
    );
    const refused = await odd.end();
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.err, "batch is 3, expected a multiple of the 2 workers");
  }));

Deno.test("SIGTERM and SIGINT finish the step and save, kill -9 leaves the last checkpoint whole; --resume continues", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    await writePairs(data, 4, { width: 64, height: 32 });
    const config = join(folder, "config.json");
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        size: "32x64",
        coarse: 0,
        batch: 1,
        steps: 2000,
        validateEvery: 0,
        checkpointEvery: 1,
        workers: 0,
      }),
    );
    const steps = async () =>
      (await scanCheckpoints(join(out, "checkpoints"))).whole.map(({ facts }) => facts.step);
    let done = 0;
    for (const [signal, code, first] of [["SIGTERM", 143, true], ["SIGINT", 130, false]] as const) {
      using training = new Training(
        "task",
        "--out",
        out,
        ...first ? ["--config", config, "--data", data] : ["--resume"],
      );
      await training.says("saved");
      training.kill(signal);
      const ended = await training.end();
      assertEquals(ended.code, code, ended.err);
      assertStringIncludes(ended.err, `${signal}: finishing this step`);
      const now = (await steps()).at(-1)!;
      assert(now > done, `${now} after ${done}`);
      // The path of the last checkpoint is all that standard output says.
      assertEquals(ended.out.trim(), (await findCheckpoint(out)).folder);
      assertEquals((await readMetrics(join(out, "metrics.jsonl"))).at(-1)!.end, "stopped");
      done = now;
    }

    using killed = new Training("process", "--out", out, "--resume");
    await killed.says("saved");
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
    killed.kill("SIGKILL");
    assertEquals((await killed.end()).code, 137);
    const { whole, broken } = await scanCheckpoints(join(out, "checkpoints"));
    assertEquals(broken, []);
    const { facts } = await loadCheckpoint(whole.at(-1)!.folder);
    assert(facts.step > done, `${facts.step} after ${done}`);

    using resumed = new Training("process", "--out", out, "--resume");
    await resumed.says("saved");
    resumed.kill("SIGINT");
    assertEquals((await resumed.end()).code, 130);
    assert((await steps()).at(-1)! > facts.step);
    const recorded = (await readMetrics(join(out, "metrics.jsonl"))).map(({ step }) => Number(step));
    assertEquals(recorded, [...recorded].sort((a, b) => a - b));
  }));

Deno.test("--max-time ends with a checkpoint and exit status 0; --overfit says whether the network learns the pairs", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    await writePairs(data, 4, { width: 64, height: 32 });
    const small = [
      "--data",
      data,
      "--size",
      "32x64",
      "--coarse",
      "0",
      "--batch",
      "1",
      "--validate-every",
      "0",
    ];
    const run = [...small, "--out", out, "--steps", "100000", "--workers", "0", "--no-report"];
    using short = new Training("task", ...run, "--profile", "100000", "--max-time", "2s");
    assertEquals((await short.end()).code, 0);
    using late = new Training("task", ...run, "--max-time", "3s");
    const stopped = await late.end();
    assertEquals(stopped.code, 0, stopped.err);
    assertStringIncludes(stopped.err, "stopped after 3s; --resume goes on");
    assert((await findCheckpoint(out)).facts.step > 0);
    const sane = [...small, "--out", join(folder, "sane"), "--steps", "4", "--workers", "0", "--no-report"];
    // More than timers hold must not end at once.
    using overfit = new Training("task", ...sane, "--overfit", "1", "--max-time", "10000h");
    const ended = await overfit.end();
    assertEquals(ended.code, 0, ended.err);
    assert(
      /overfit: the photometric loss of these pairs went from \d\.\d+ to \d\.\d+; /.test(ended.err),
      ended.err,
    );
  }));

Deno.test("--find-learning-rate and --profile print what they found and keep nothing", () =>
  withFolder(async (folder) => {
    const data = join(folder, "data"), out = join(folder, "run");
    await tinyStreet(data);
    const small = [
      "--data",
      data,
      "--size",
      "32x64",
      "--coarse",
      "0",
      "--batch",
      "1",
      "--workers",
      "0",
      "--out",
      out,
    ];
    using finding = new Training("task", ...small, "--find-learning-rate");
    const found = await finding.end();
    assertEquals(found.code, 0, found.err);
    const [, lowest, rate] = /lowest at (\S+): .*--learning-rate (\S+) /.exec(found.out)!.map(Number);
    // Below it does not learn, above it diverges.
    assert(lowest > 1e-5 && lowest < 0.1, found.out);
    assertAlmostEquals(rate, lowest, lowest / 2);
    using profiling = new Training("task", ...small, "--profile", "5", "--validate-every", "2");
    const profiled = await profiling.end();
    assertEquals(profiled.code, 0, profiled.err);
    assert(
      /a validation of 2 pairs takes \d\.\d s: every 2 updates, that is \d/.test(profiled.out),
      profiled.out,
    );
    const time = (name: string) => Number(new RegExp(`${name} +([\\d.]+) ms`).exec(profiled.out)![1]);
    assertAlmostEquals(time("together"), time("images") + time("update") + time("rest"), 0.21);
    assert(time("update") > 0);
    assert(!await exists(out));
    using both = new Training("task", ...small, "--profile", "5", "--find-learning-rate");
    assertEquals((await both.end()).code, 2);
  }));

Deno.test("a wrong call exits with 2, data that are not there with 1", async () => {
  for (
    const [args, code, message] of [
      [["--stage", "halfcycle"], 2, 'stage is "halfcycle"'],
      [["--learnig-rate", "1"], 2, "did you mean --learning-rate"],
      [["--resume", "--out", "nowhere/run"], 2, "no such folder"],
      [["--data", "nowhere", "--out", "nowhere/run"], 1, "no folder nowhere"],
    ] as const
  ) {
    using training = new Training("process", ...args);
    const ended = await training.end();
    assertStringIncludes(ended.err, message);
    assertEquals([ended.code, ended.out], [code, ""]);
  }
});
