/**
 * `deno task readme:check`: the README's commands and its program, run as a newcomer would, in a folder of their own.
 *
 * @module
 */
import { dirname, extname, fromFileUrl, join, toFileUrl } from "@std/path";
import { CyclopsError } from "../lib/base/errors.ts";
import { writeAtomic } from "../lib/base/files.ts";
import { flag } from "../lib/base/options.ts";
import { writeNpy } from "../lib/data/npy.ts";
import { openDataset } from "../lib/data/dataset.ts";
import {
  calibrationPaths,
  drivePath,
  eigenSplit,
  framePair,
  parseFrame,
  velodynePath,
} from "../lib/data/kitti.ts";
import { trainSetMean } from "../lib/evaluation/truth.ts";
import { generateStreet } from "../lib/street/mod.ts";
import { runTask } from "./_task.ts";

const root = fromFileUrl(new URL("..", import.meta.url));

/** How the commands that begin so are run here. */
interface Rule {
  readonly begins: string;
  /** Options that make it small, or keep what it writes in the folder. */
  readonly add?: string;
  /** Why it runs with --all only. */
  readonly slow?: string;
  /** Why it is never run; it is parsed all the same. */
  readonly never?: string;
}

const RULES: readonly Rule[] = [
  { begins: "quickstart", add: "--pairs 30 --steps 2 --data street --out quickstart", slow: "half a minute" },
  { begins: "test", never: "the tests run this check" },
  { begins: "predict", add: "--out predictions" },
  { begins: "kitti check", add: "--quick" },
  { begins: "train", add: "--steps 1 --batch 1 --size 64x128 --validation-pairs 1", slow: "minutes" },
  { begins: "eval --run", add: "--shard 0/100 --json", slow: "needs the run that train makes" },
  { begins: "eval --predictions" },
];

/** What the README's program is given less of. */
const SMALLER = { "pairs: 480": 'pairs: 6, size: "64x192"', "steps: 1300": "steps: 2, batch: 2" };
/** What the README's program prints. */
const PRINTED = /abs rel \d\.\d+ on \d+ frames/;

/** What became of a command. */
export interface Checked {
  readonly command: string;
  readonly state: "ok" | "parsed" | "failed";
  /** How it was run, or why it was not, or what it said when it failed. */
  readonly note: string;
}

/** The commands and programs of a Markdown text, in order; commands in a sentence are only parsed. */
function findCommands(
  markdown: string,
): { readonly kind: "block" | "inline" | "ts"; readonly text: string }[] {
  const all: { at: number; kind: "block" | "inline" | "ts"; text: string }[] = [];
  const add = (kind: "block" | "inline" | "ts", regexp: RegExp) => {
    for (const found of markdown.matchAll(regexp)) all.push({ at: found.index, kind, text: found[1] });
  };
  add("block", /^ {4}(?! )(.+?)(?: +#.*)?$/gm);
  add("ts", /^```ts\n(.*?)^```$/gms);
  // Capitals and dots stand for something: `deno task NAME --help`.
  add("inline", /`(deno [^`A-Z…]+)`/g);
  const fences = markdown.match(/^```\w+$/gm) ?? [], other = fences.find((fence) => fence !== "```ts");
  if (other) {
    throw new CyclopsError(`Cannot check the README: no way to run ${other}, expected ts or indented`);
  }
  return all.sort((a, b) => a.at - b.at);
}

/**
 * Makes what the README assumes: photo.jpg; kitti, KITTI raw's folders with every frame of the Eigen split, each the same
 * small street; predictions of its test frames.
 */
async function prepare(folder: string): Promise<void> {
  await Deno.copyFile(join(root, "data/results/kitti-mini/predictions.jpg"), join(folder, "photo.jpg"));
  const street = join(folder, "one");
  await generateStreet({ out: street, pairs: 3, frames: 1, size: "64x192" });
  const { pairs } = await openDataset({ data: street, part: "train" });
  const [{ left }] = pairs, one = parseFrame(left);
  const frames = (["train", "val", "test"] as const).flatMap((part) => eigenSplit(part))
    .map(({ left }) => parseFrame(left));
  const last = Math.max(...frames.map(({ index }) => index));
  // One folder of as many files as the longest drive has, linked to by all.
  const places = [left, framePair(one).right, velodynePath(one)].map((path) => {
    const [, drive, place, data, file] = path.split("/"), from = join(folder, "frames", place);
    Deno.mkdirSync(from, { recursive: true });
    for (let i = 0; i <= last; i++) {
      const name = String(i).padStart(10, "0") + extname(file);
      Deno.linkSync(join(street, one.date, drive, place, data, file), join(from, name));
    }
    return { from, to: join(place, data) };
  });
  for (const { date, drive } of new Map(frames.map((frame) => [drivePath(frame), frame])).values()) {
    for (const { from, to } of places) {
      const link = join(folder, "kitti", drivePath({ date, drive }), to);
      await Deno.mkdir(dirname(link), { recursive: true });
      await Deno.symlink(from, link);
    }
    const [ours, theirs] = [one.date, date].map((of) => Object.values(calibrationPaths(of)));
    for (const [i, path] of ours.entries()) {
      await Deno.copyFile(join(street, path), join(folder, "kitti", theirs[i]));
    }
  }
  const size = { width: 48, height: 16 }, count = eigenSplit("test").length;
  const { data } = await trainSetMean({ root: street, pairs, size });
  const maps = new Float32Array(count * data.length);
  for (let i = 0; i < count; i++) maps.set(data, i * data.length);
  await writeNpy(join(folder, "disparities.npy"), { shape: [count, size.height, size.width], data: maps });
}

async function deno(args: readonly string[], cwd: string) {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", INIT_CWD: cwd },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, out: text(stdout), err: text(stderr) };
}

/**
 * Parses every command of a README with its task's own options, and runs those in its code blocks, and its program.
 *
 * @param all Run the slow ones, too.
 * @throws {CyclopsError} When a code block is of a kind that cannot be run, or a rule above fits no command any more.
 */
export async function* checkReadme(
  text: string,
  { all = false, rules = RULES }: { readonly all?: boolean; readonly rules?: readonly Rule[] } = {},
): AsyncGenerator<Checked, void, void> {
  const config = join(root, "deno.json");
  const { tasks } = JSON.parse(await Deno.readTextFile(config));
  const folder = await Deno.makeTempDir({ prefix: "cyclops-readme-" });
  const used = new Set<Rule>(), parsed = new Set<string>();
  try {
    const commands = findCommands(text);
    if (commands.some(({ kind }) => kind !== "inline")) await prepare(folder);
    for (const { kind, text } of commands) {
      if (kind === "ts") {
        yield await program(text, folder, config);
        continue;
      }
      const line = /^(?:deno|npx -y deno@[\d.]+) task (\S+) ?(.*)$/.exec(text);
      if (!line && kind === "inline") continue;
      const outcome = (state: Checked["state"], note: string): Checked => ({ command: text, state, note });
      if (!line) {
        yield outcome("failed", "expected deno task NAME, or npx -y deno@VERSION task NAME");
        continue;
      }
      const [, name, rest] = line, words = rest.split(" ").filter(Boolean), call = [name, ...words].join(" ");
      const task = (...args: readonly string[]) =>
        deno(["task", "--quiet", "--config", config, ...args], folder);
      if (parsed.has(call)) continue;
      if (kind === "inline") parsed.add(call);
      if (!(name in tasks)) {
        yield outcome("failed", `deno.json has no task ${name}`);
        continue;
      }
      const own = /tasks\/\w+\.ts$/.test(tasks[name].command);
      const { code, err } = own ? await task(name, ...words, "--help") : { code: 0, err: "" };
      if (code !== 0) {
        yield outcome("failed", err);
        continue;
      }
      const rule = rules.find(({ begins }) => call.startsWith(begins));
      if (kind === "inline") {
        yield outcome("parsed", "in a sentence");
        continue;
      }
      if (rule) used.add(rule);
      const skip = rule?.never ?? (all ? undefined : rule?.slow && `${rule.slow}: --all runs it`);
      if (skip) {
        yield outcome("parsed", `not run, ${skip}`);
        continue;
      }
      const { add } = rule ?? {}, ran = await task(name, ...words, ...add?.split(" ") ?? []);
      yield ran.code === 0
        ? outcome("ok", add ? `with ${add}` : "")
        : outcome("failed", `${ran.out}\n${ran.err}`);
    }
    const stale = rules.find((rule) => !used.has(rule));
    if (stale) throw new CyclopsError(`Cannot check the README: no command begins with "${stale.begins}"`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the README's program, with less of everything. */
async function program(text: string, folder: string, config: string): Promise<Checked> {
  let small = text.replaceAll("./lib/mod.ts", toFileUrl(join(root, "lib/mod.ts")).href);
  for (const [given, less] of Object.entries(SMALLER)) small = small.replace(given, less);
  await writeAtomic(join(folder, "script.ts"), small);
  const { code, out, err } = await deno(["run", "-A", "--config", config, "script.ts"], folder);
  const command = "deno run -A script.ts", note = `with ${Object.values(SMALLER).join(", ")}`;
  return code === 0 && PRINTED.test(out)
    ? { command, state: "ok", note }
    : { command, state: "failed", note: `${out}\n${err}` };
}

if (import.meta.main) {
  await runTask({
    name: "readme:check",
    summary:
      "Parses every command of README.md with its task's own options, and runs those of its code blocks, in a folder " +
      "of their own and with small budgets; says how each was run, or why it was not.",
    options: { all: flag({ help: "Run the slow ones, too: minutes." }) },
  }, async (options) => {
    let failed = 0;
    for await (
      const { command, state, note } of checkReadme(await Deno.readTextFile(join(root, "README.md")), options)
    ) {
      if (state === "failed") failed++;
      console.log(
        `${state.padEnd(6)}  ${command}${note && `\n        ${note.replaceAll("\n", "\n        ")}`}`,
      );
    }
    if (failed) throw new CyclopsError(`Cannot pass the README: ${failed} of its commands failed`);
  });
}
