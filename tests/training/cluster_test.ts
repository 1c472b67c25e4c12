import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../_assert.ts";
import { join } from "@std/path";
import { selectBackend } from "../../lib/backend/mod.ts";
import { UsageError } from "../../lib/base/errors.ts";
import { scanCheckpoints } from "../../lib/training/checkpoint.ts";
import { clusterMember } from "../../lib/training/cluster.ts";
import type { TrainRecord } from "../../lib/training/loop.ts";
import type { WorkerOrder } from "./_worker.ts";
import { checkpointDistance, ofKind, recordsIn, testFolder, TINY, tinyStreet } from "./_runs.ts";
import { withFolder } from "../_folder.ts";

await selectBackend();

const street = join(await testFolder(), "street");
await tinyStreet(street);
const GIVEN = { ...TINY, data: street, batch: 4, eager: false, learningRate: 1e-4, ema: 0.9, clipNorm: 1 };

/** Seconds after which a worker gives another one up. */
const TIMEOUT = 5;

type WorkerRecord = TrainRecord | { readonly kind: "error"; readonly message: string };

/** Addresses of this machine that nobody uses. */
function freeAddresses(count: number): string[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  for (const listener of listeners) listener.close();
  return listeners.map(({ addr }) => `127.0.0.1:${(addr as Deno.NetAddr).port}`);
}

/** A worker in a process of its own, which is gone after the test. */
class WorkerProcess implements Disposable {
  readonly records: WorkerRecord[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #ended: Promise<void>;
  #heard = Promise.withResolvers<void>();
  #over = false;

  constructor(order: Partial<WorkerOrder> & Pick<WorkerOrder, "addresses" | "task" | "out">) {
    const whole: WorkerOrder = { timeout: TIMEOUT, overrides: GIVEN, ...order };
    const script = join(import.meta.dirname!, "_worker.ts");
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, JSON.stringify(whole)],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
      env: { TF_CPP_MIN_LOG_LEVEL: "3" },
    }).spawn();
    this.#ended = this.#listen();
  }

  async #listen(): Promise<void> {
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.records.push(JSON.parse(line));
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    }
    this.#over = true;
    this.#heard.resolve();
    await this.#process.status;
  }

  /** Waits until it has made an update. */
  async reaches(step: number): Promise<void> {
    while (!this.records.some((record) => record.kind === "step" && record.step >= step)) {
      assert(!this.#over, `the worker ended first: ${JSON.stringify(this.records.at(-1))}`);
      await this.#heard.promise;
    }
  }

  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Waits for the end. @returns The records; an error is the last one. */
  async end(): Promise<TrainRecord[]> {
    await this.#ended;
    return this.records as TrainRecord[];
  }

  /** The error that it ends with. */
  async error(): Promise<string> {
    const last = (await this.end() as WorkerRecord[]).at(-1);
    assert(last?.kind === "error", `the worker ended well: ${JSON.stringify(last)}`);
    return last.message;
  }

  [Symbol.dispose](): void {
    try {
      this.#process.kill("SIGKILL");
    } catch { /* It has ended. */ }
  }
}

/** Two workers that train together. */
function startTwo(
  out: string,
  both: Partial<WorkerOrder> = {},
  second: Partial<WorkerOrder> = {},
): DisposableStack & { readonly workers: readonly WorkerProcess[]; readonly addresses: readonly string[] } {
  const addresses = freeAddresses(2);
  const stack = new DisposableStack();
  const workers = [{}, second].map((own, task) =>
    stack.use(new WorkerProcess({ addresses, task, out, ...both, ...own }))
  );
  return Object.assign(stack, { workers, addresses });
}

const lossesOf = (all: readonly TrainRecord[]) => ofKind(all, "step").map(({ loss }) => loss);

Deno.test("the place among the workers is read from options, Slurm and Kubernetes", () => {
  const member = (cluster?: string, task?: number, env: Record<string, string> = {}) =>
    clusterMember({ cluster, task }, (name) => env[name]);
  assertEquals(member(), undefined);
  assertEquals(member("a:1,b-2.c:22", 1), { addresses: ["a:1", "b-2.c:22"], task: 1 });
  assertEquals(member("n[08-10,12]:5,m:6", 0)?.addresses, ["n08:5", "n09:5", "n10:5", "n12:5", "m:6"]);
  assertEquals(member("a[1-2]b[3-4]:5", 0)?.addresses, ["a1b3:5", "a1b4:5", "a2b3:5", "a2b4:5"]);
  assertEquals(member("[::1]:5,[fe80::2]:5", 0)?.addresses, ["[::1]:5", "[fe80::2]:5"]);
  const kubernetes = { JOB_COMPLETION_INDEX: "1" };
  assertEquals(member("train-[0-1].train:2222", undefined, kubernetes), {
    addresses: ["train-0.train:2222", "train-1.train:2222"],
    task: 1,
  });
  const slurm = {
    SLURM_STEP_NODELIST: "gpu[1-2],cpu7",
    SLURM_STEP_TASKS_PER_NODE: "2(x2),1",
    SLURM_PROCID: "4",
    SLURM_JOB_ID: "1234567",
  };
  assertEquals(member("slurm", undefined, slurm), {
    addresses: ["gpu1:24567", "gpu1:24568", "gpu2:24567", "gpu2:24568", "cpu7:24567"],
    task: 4,
  });
  const refuse = (said: string, ...args: Parameters<typeof member>) =>
    assertStringIncludes(assertThrows(() => member(...args), UsageError).message, said);
  refuse('"localhost", expected HOST:PORT', "a:1,localhost", 0);
  refuse("an address twice", "a:1,a:1", 0);
  refuse("--task is 2, expected 0 to 1", "a:1,b:1", 2);
  refuse("--task is not given, expected 0 to 1", "a:1,b:1");
  refuse("without --cluster", undefined, 1);
  refuse("SLURM_*", "slurm", 0);
});

Deno.test("two workers train as one process does, and another number of them continues", () =>
  withFolder(async (folder) => {
    const overrides = { ...GIVEN, steps: 6, validateEvery: 3, validationPairs: 2 };
    const [one, two] = [join(folder, "one"), join(folder, "two")];
    const expected = await recordsIn(one, overrides);
    // Asked of one of them, the stop is everybody's, an update later.
    using first = startTwo(two, { overrides }, { stopAt: 4 });
    const [main, other] = await Promise.all(first.workers.map((worker) => worker.end()));
    const ends = [main, other].map((all) => all.at(-1)!);
    assertEquals(ends.map(({ kind, step }) => [kind, step]), [["end", 5], ["end", 5]]);
    assertEquals(lossesOf(main), lossesOf(other));
    const resumed = await recordsIn(two, { ...overrides, accumulate: 2 }, { resume: true });
    const found = [...lossesOf(main), ...lossesOf(resumed)], losses = lossesOf(expected);
    assertEquals(found.length, losses.length);
    found.forEach((loss, i) => assertAlmostEquals(loss, losses[i], 1e-5));
    const [a, b] = [expected, resumed].map((all) => ofKind(all, "end")[0].folder!);
    assertLess(await checkpointDistance(a, b), 1e-5);

    // The validation is shared out, too.
    const validations = [expected, [...main, ...resumed]].map((all) => ofKind(all, "validation"));
    assertEquals(validations[1].length, 2);
    for (const [i, { validation }] of validations[1].entries()) {
      const single = validations[0][i].validation;
      for (const name of ["absRel", "rmse", "photometric"] as const) {
        assertAlmostEquals(validation[name]!, single[name]!, 1e-4, name);
      }
    }
    assertEquals(ofKind(other, "checkpoint"), []);
  }));

for (const [signal, victim] of [["SIGKILL", 0], ["SIGKILL", 1], ["SIGSTOP", 1]] as const) {
  Deno.test(`${signal} of worker ${victim} ends the other one, which names it; the last checkpoint is whole`, () =>
    withFolder(async (folder) => {
      const out = join(folder, "run"), overrides = { ...GIVEN, steps: 100_000, checkpointEvery: 2 };
      using two = startTwo(out, { overrides });
      const { workers, addresses } = two;
      await workers[0].reaches(5);
      // Whoever is not on this machine finds no open port.
      const port = Number(addresses[0].split(":")[1]);
      for (const { address } of Deno.networkInterfaces().filter(({ name }) => name !== "lo")) {
        await assertRejects(() => Deno.connect({ hostname: address, port }));
      }
      workers[victim].kill(signal);
      const killed = performance.now();
      const message = await workers[1 - victim].error();
      assertLess(performance.now() - killed, 1000 * (TIMEOUT + 3));
      assertStringIncludes(message, `lost worker ${victim} at 127.0.0.1:`);
      assertStringIncludes(message, "--resume");
      const { whole, broken } = await scanCheckpoints(join(out, "checkpoints"), true);
      assertEquals(broken, []);
      assert(whole.length > 0 && whole.at(-1)!.facts.step >= 2);
    }));
}

Deno.test("workers that differ, that cannot be reached or have no port say so", () =>
  withFolder(async (folder) => {
    const out = join(folder, "run");
    using two = startTwo(out, {}, { overrides: { ...GIVEN, learningRate: 3e-4, beta1: 0.8 } });
    for (const worker of two.workers) {
      const message = await worker.error();
      assertStringIncludes(message, "Cannot train together: worker 1 at 127.0.0.1:");
      assertStringIncludes(
        message,
        "learningRate is 0.0003 there and 0.0001 here, beta1 is 0.8 there and 0.9 here",
      );
    }
    const [own, nobody] = freeAddresses(2);
    using lonely = new WorkerProcess({ addresses: [own, nobody], task: 0, out, timeout: 2 });
    assertStringIncludes(await lonely.error(), `after 2 s there is no answer from worker 1 at ${nobody} (`);
    using taken = Deno.listen({ port: 0 });
    const address = `127.0.0.1:${(taken.addr as Deno.NetAddr).port}`;
    using late = new WorkerProcess({ addresses: [nobody, address], task: 1, out });
    assertStringIncludes(
      await late.error(),
      `start worker 1 at ${address} (another process may have the port)`,
    );
  }));
