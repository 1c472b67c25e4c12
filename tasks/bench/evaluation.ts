/**
 * `deno task eval` beside numpy on the same frames: from scans and predictions on disk to the printed numbers, each a
 * process of its own, which take turns.
 *
 * @module
 */
import { basename, dirname, fromFileUrl, join, resolve } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { median, Random } from "../../lib/base/random.ts";
import { Table, type TableRow } from "../../lib/charts/table.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { calibrationPaths, framePair, framePath, parseFrame, velodynePath } from "../../lib/data/kitti.ts";
import { writeNpy } from "../../lib/data/npy.ts";
import { formatSplit, type StereoPair } from "../../lib/data/split.ts";
import { metricNames } from "../../lib/evaluation/protocol.ts";
import { trainSetMean } from "../../lib/evaluation/truth.ts";

/** Frames of KITTI's Eigen test split, and the size of most published predictions. */
const FRAMES = 697, HEIGHT = 192, WIDTH = 640;

/** No drive has as many frames. */
const ROUND = 10000;

/** Runs a command. @returns Its standard output. */
async function run(command: string, args: readonly string[], stdin?: string): Promise<string> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (stdin !== undefined) await new Response(stdin).body!.pipeTo(child.stdin);
  const { success, stdout, stderr } = await child.output();
  if (success) return new TextDecoder().decode(stdout);
  const lines = new TextDecoder().decode(stderr).trim().split("\n");
  const why = lines.find((line) => line.startsWith("error: "))?.slice(7) ?? lines.at(-1);
  throw new CyclopsError(`Cannot measure: ${basename(command)} failed (${why})`);
}

/**
 * A folder with as many frames as asked for, by links: those of the data, again and again under other numbers.
 *
 * @returns The split's file.
 */
async function repeatFrames(
  folder: string,
  root: string,
  pairs: readonly StereoPair[],
  count: number,
): Promise<string> {
  const script = ["set -e"], repeated: StereoPair[] = [];
  const quote = (path: string) => `'${path.replaceAll("'", "'\\''")}'`;
  const link = (from: string, to: string) => {
    script.push(`mkdir -p ${quote(dirname(to))}; ln -sf ${quote(resolve(root, from))} ${quote(to)}`);
  };
  for (let i = 0; i < count; i++) {
    const { left } = pairs[i % pairs.length], frame = parseFrame(left);
    const other = { ...frame, index: frame.index + ROUND * Math.floor(i / pairs.length) };
    const names = [[left, framePath(other, 2)], [velodynePath(frame), velodynePath(other)]];
    for (const [from, to] of names) link(from, join(folder, to));
    if (i < pairs.length) {
      for (const file of Object.values(calibrationPaths(frame.date))) link(file, join(folder, file));
    }
    repeated.push(framePair(other));
  }
  await run("sh", ["-s"], script.join("\n"));
  const split = join(folder, "split.txt");
  await Deno.writeTextFile(split, formatSplit(repeated));
  return split;
}

/** Disparities of the size that most published ones have: the frames' mean, with noise. */
async function inventPredictions(
  path: string,
  root: string,
  pairs: readonly StereoPair[],
  count: number,
): Promise<void> {
  const { data: mean } = await trainSetMean({ root, pairs, size: { height: HEIGHT, width: WIDTH } });
  const random = new Random(1), data = new Float32Array(count * mean.length);
  for (let i = 0; i < data.length; i++) data[i] = mean[i % mean.length] * (0.9 + 0.2 * random.next());
  await writeNpy(path, { shape: [count, HEIGHT, WIDTH], data });
}

/** Metrics may differ by this share: numpy resizes at single precision. */
const TOLERANCE = 1e-5;

/**
 * Measures the evaluation of 697 frames.
 *
 * @param options.data Folder of KITTI raw; of fewer frames each is used several times.
 * @throws {CyclopsError} When a contender's numbers differ from ours.
 */
export async function evaluationTable(options: {
  readonly data: string;
  readonly split: string;
  readonly python: string;
  readonly warmup: number;
  readonly repeats: number;
  /** @default 697 */
  readonly frames?: number;
  readonly onProgress?: (done: number, total: number, name: string) => void;
}): Promise<Table> {
  const { data, split, python, warmup, repeats, frames = FRAMES } = options;
  const { root, pairs, name } = await openDataset({ data, split, part: "test", side: "left" });
  const [load] = Deno.loadavg(), folder = await Deno.makeTempDir({ prefix: "cyclops-bench-" });
  try {
    const list = await repeatFrames(folder, root, pairs, frames),
      predictions = join(folder, "disparities.npy");
    await inventPredictions(predictions, root, pairs, frames);
    const task = fromFileUrl(new URL("../eval.ts", import.meta.url));
    const script = fromFileUrl(new URL("./evaluation.py", import.meta.url));
    const ours = ["--predictions", predictions, "--data", folder, "--split", list, "--json"];
    const contenders = [
      { name: "deno task eval", command: Deno.execPath(), args: ["run", "-q", "-P=compute", task, ...ours] },
      { name: "numpy", command: python, args: [script, folder, list, predictions] },
      {
        name: "numpy, like the field's script",
        command: python,
        args: [script, folder, list, predictions, "--like-the-field"],
      },
    ];
    const seconds = contenders.map((): number[] => []), total = (warmup + repeats) * contenders.length;
    let versions = "", done = 0;
    for (let round = 0; round < warmup + repeats; round++) {
      let reference: Record<string, number> | undefined;
      for (const [i, { name, command, args }] of contenders.entries()) {
        const start = performance.now(), found = JSON.parse(await run(command, args));
        if (round >= warmup) seconds[i].push((performance.now() - start) / 1000);
        if (found.numpy) versions = `numpy ${found.numpy}, Python ${found.python}`;
        reference ??= found as Record<string, number>;
        for (const key of ["points", ...metricNames]) {
          if (Math.abs(found[key] - reference[key]) <= TOLERANCE * reference[key]) continue;
          throw new CyclopsError(
            `Cannot compare: ${key} is ${found[key]} by ${name}, expected ${
              reference[key]
            }; the two implementations ` +
              "have diverged",
          );
        }
        options.onProgress?.(++done, total, name);
      }
    }
    const [own] = seconds.map(median);
    const rows = contenders.map(({ name }, i): TableRow => {
      const s = median(seconds[i]);
      const spread = `${Math.min(...seconds[i]).toFixed(2)}–${Math.max(...seconds[i]).toFixed(2)}`;
      return { name, cells: { s, spread, rate: frames / s, ratio: s / own } };
    });
    const repeated = pairs.length < frames ? `, ${pairs.length} of ${name} used again and again` : "";
    return new Table({
      title: `Evaluation of ${frames} frames`,
      columns: [
        { key: "s", label: "s", digits: 2 },
        { key: "spread", label: "from–to" },
        { key: "rate", label: "frames/s", digits: 0 },
        { key: "ratio", label: "× ours", digits: 1 },
      ],
      rows,
      notes: [
        `Whole processes, medians of ${repeats} runs: Velodyne scans projected, predictions of ${HEIGHT}×${WIDTH} px, ` +
        `Garg crop, 80 m${repeated}. All found the same points and, to ${TOLERANCE}, the same metrics.`,
        "numpy: what the result needs, duplicates by sorting. Like the field's script: images decoded for their size, " +
        "the calibration read anew for each frame, duplicates looked up one by one.",
        `${navigator.hardwareConcurrency} cores, load before: ${load.toFixed(1)}. ${versions}.`,
      ],
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
