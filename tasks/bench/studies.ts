/**
 * Where our own time goes: by operation, over size, waiting for images, and around a prediction.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { median } from "../../lib/base/random.ts";
import { formatSize } from "../../lib/base/options.ts";
import { Table, type TableRow } from "../../lib/charts/table.ts";
import { openDataset } from "../../lib/data/dataset.ts";
import { loadSharp } from "../../lib/data/image.ts";
import { openPredictor } from "../../lib/evaluation/predict.ts";
import { generateStreet } from "../../lib/street/mod.ts";
import { train } from "../../lib/training/loop.ts";
import { loadModel } from "../../lib/training/model.ts";
import { resolveTraining } from "../../lib/training/options.ts";
import type { Model, ProfileRow, Work } from "./ours.ts";
import { Peer } from "./peer.ts";

/** Runs one of ours: what it is, and the median of its runs, ms. */
async function measure(
  work: Work,
  { warmup, repeats }: { readonly warmup: number; readonly repeats: number },
): Promise<{ model: Model; ms: number }> {
  const peer = await Peer.ours();
  try {
    const model = await peer.ask({ do: "make", work }) as Model;
    const times: number[] = [];
    for (let i = 0; i < warmup + repeats; i++) {
      const { milliseconds } = await peer.run();
      if (i >= warmup) times.push(milliseconds);
    }
    return { model, ms: median(times) };
  } finally {
    await peer.close();
  }
}

/** Below this share of a phase's time, operations are summed up, percent. */
const SMALL = 2;

/** Time by phase and operation of an eager run, medians of several, beside the compiled function's. */
export async function profileTable(comparison: Work & { readonly title: string }): Promise<Table> {
  const { title, architecture, size, batch } = comparison;
  const { ms: compiled, model: { gigaflops } } = await measure(comparison, { warmup: 3, repeats: 15 });
  const peer = await Peer.ours();
  const peak = (await peer.ask({ do: "peak" })).gflops as number;
  const runs: ProfileRow[][] = [];
  await peer.ask({ do: "make", work: { ...comparison, eager: true } });
  for (let i = 0; i < 3; i++) await peer.run();
  for (let i = 0; i < 9; i++) runs.push((await peer.ask({ do: "profile" })).rows as ProfileRow[]);
  await peer.close();

  const profile = runs[0].map((row, i) => ({
    ...row,
    milliseconds: median(runs.map((run) => run[i].milliseconds)),
  }));
  const total = profile.reduce((sum, row) => sum + row.milliseconds, 0);
  const row = (name: string, group: string, list: readonly ProfileRow[]): TableRow => {
    const [calls, ms, gigaflops] = (["calls", "milliseconds", "gigaflops"] as const)
      .map((key) => list.reduce((sum, item) => sum + item[key], 0));
    const rate = gigaflops ? gigaflops / ms * 1000 : undefined;
    const cells = { calls, ms, share: 100 * ms / total, rate, peak: rate && 100 * rate / peak };
    return { name, group, cells };
  };
  const rows = [...Map.groupBy(profile, ({ phase }) => phase)].flatMap(([phase, list]) => {
    const ms = list.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    const large = list.filter(({ milliseconds }) => 100 * milliseconds / total >= SMALL)
      .sort((a, b) => b.milliseconds - a.milliseconds);
    const small = list.filter((item) => !large.includes(item));
    const group = `${phase}, ${ms.toFixed(1)} ms`;
    return [
      ...large.map((item) => row(item.operation, group, [item])),
      ...(small.length ? [row(`${small.length} others`, group, small)] : []),
    ];
  });
  const convolutions = profile.filter((item) => item.gigaflops > 0);
  return new Table({
    title: `${title}, ${architecture}, ${formatSize(size)} px, batch ${batch}`,
    columns: [
      { key: "calls", label: "calls", digits: 0 },
      { key: "ms", label: "ms", digits: 1 },
      { key: "share", label: "%", digits: 0 },
      { key: "rate", label: "GFLOP/s", digits: 0 },
      { key: "peak", label: "peak %", digits: 0 },
    ],
    rows: [
      ...rows,
      row("convolutions", "all phases", convolutions),
      row("all else", "all phases", profile.filter((item) => item.gigaflops === 0)),
    ],
    notes: [
      "Operation by operation (--eager), waiting for each: TensorFlow's C API has no profiler that looks into a " +
      "compiled function.",
      `Compiled, the whole takes ${compiled.toFixed(1)} ms; at this processor's fastest convolution, ` +
      `${peak.toFixed(0)} GFLOP/s, its ${gigaflops.toFixed(1)} GFLOP of convolutions would take ` +
      `${(1000 * gigaflops / peak).toFixed(1)} ms.`,
    ],
  });
}

const SCALED: Work = {
  kind: "step",
  architecture: "quick",
  size: { height: 64, width: 192 },
  batch: 8,
  photometricViews: "both",
};

/** What grows: one thing at a time. */
const SERIES: readonly { readonly name: string; readonly works: readonly Work[] }[] = [
  {
    name: "pixels: quick, batch 2",
    works: [[32, 96], [64, 192], [128, 384], [256, 768]].map(([height, width]) => ({
      ...SCALED,
      size: { height, width },
      batch: 2,
    })),
  },
  { name: "batch: quick, 64x192 px", works: [1, 2, 4, 8, 16, 32].map((batch) => ({ ...SCALED, batch })) },
  {
    name: "parameters: 128x256 px, batch 1",
    works: (["quick", "vgg", "resnet50"] as const).map((architecture) => ({
      ...SCALED,
      architecture,
      size: { height: 128, width: 256 },
      batch: 1,
    })),
  },
];

/** Time of our update over pixels, batch and parameters, with the power of each at which it grows. */
export async function scalingTable(
  plan: { readonly warmup: number; readonly repeats: number },
  series: typeof SERIES = SERIES,
): Promise<Table> {
  const rows: TableRow[] = [];
  for (const { name, works } of series) {
    let before: { megapixels: number; gigaflops: number; parameters: number; ms: number } | undefined;
    for (const work of works) {
      const { model: { gigaflops, parameters }, ms } = await measure(work, plan);
      const { architecture, size, batch } = work;
      const megapixels = size.height * size.width * batch / 1e6;
      const by = name.startsWith("parameters") ? "gigaflops" : "megapixels";
      const now = { megapixels, gigaflops, parameters, ms };
      const power = before && Math.log(ms / before.ms) / Math.log(now[by] / before[by]);
      before = now;
      rows.push({
        name: `${architecture}, ${formatSize(size)} px, batch ${batch}`,
        group: name,
        cells: { parameters: parameters / 1e6, megapixels, gigaflops, ms, power },
      });
    }
  }
  return new Table({
    title: "Half-cycle update over size",
    columns: [
      { key: "parameters", label: "M param.", digits: 2 },
      { key: "megapixels", label: "Mpx", digits: 3 },
      { key: "gigaflops", label: "GFLOP", digits: 1 },
      { key: "ms", label: "ms", digits: 1 },
      { key: "power", label: "power", digits: 2 },
    ],
    rows,
    notes: [
      "power p: from the row above, ms grew as pixels^p (below: as GFLOP^p). 1 is linear; below 1, the fixed cost of " +
      "an update still counts.",
    ],
  });
}

/** Updates that are measured, after as many that fill pipeline and cache. */
const STEPS = 60;

/** How much of its time training waits for images: from memory, and decoding files at every step. */
export async function measureWaits(
  sizes: readonly string[] = ["128x416", "384x1248"],
  pairs = 48,
  steps: number = STEPS,
): Promise<Table> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-bench-" });
  const rows: TableRow[] = [];
  try {
    for (const size of sizes) {
      const data = join(folder, size);
      await generateStreet({ out: data, size, pairs, frames: 6 });
      for (const format of ["PNG", "JPEG"]) {
        if (format === "JPEG") await convertToJpeg(data);
        for (const cacheMib of [0, ...(format === "PNG" ? [1024] : [])]) {
          const options = resolveTraining({ data, coarse: 0, steps: 2 * steps, validateEvery: 0, cacheMib });
          const dataset = await openDataset({ data, part: "train" });
          let waited = 0, whole = 0;
          for await (const record of train({ options, dataset })) {
            if (record.kind !== "step" || record.step <= steps) continue;
            waited += record.waited;
            whole += record.milliseconds;
          }
          rows.push({
            name: cacheMib ? "cache" : format,
            group: `images of ${size} px`,
            cells: { ms: whole / steps, waited: waited / steps, share: 100 * waited / whole },
          });
        }
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return new Table({
    title: "Waiting for images, preset quick",
    columns: [
      { key: "ms", label: "ms per update", digits: 1 },
      { key: "waited", label: "of these waiting", digits: 2 },
      { key: "share", label: "%", digits: 1 },
    ],
    rows,
    notes: [
      `Means of ${steps} updates. cache: all images are in memory; PNG, JPEG: every image is read and decoded anew ` +
      "(--cache-mib 0). Decoding also takes processor time from the update itself.",
    ],
  });
}

/** Photographs of a short and a long call of predict: their difference is without its start. */
const SHORT = 16, LONG = 80;
/** Images at a time, as `predict` takes them. */
const BATCH = 8;

/**
 * The rate of `deno task predict` on JPEG files of KITTI's size, read, predicted and written, beside that of the network
 * alone on batches that lie in memory; in turns.
 *
 * @param counts Photographs of a short and a long call.
 */
export async function measurePredict(
  rounds: number,
  { counts: [short, long] = [SHORT, LONG], model: name }: {
    readonly counts?: readonly [number, number];
    readonly model?: string;
  } = {},
): Promise<Table> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-bench-" });
  const model = await loadModel(name), predictor = openPredictor(model), { size, info } = model;
  const times = { network: [] as number[], npy: [] as number[], png: [] as number[] };
  try {
    const street = join(folder, "street"), photos = join(folder, "photos");
    const { plan } = await generateStreet({ out: street, pairs: 3, frames: 1, size: "375x1242" });
    await convertToJpeg(street);
    const { pairs } = await openDataset({ data: street, part: "train" });
    await Deno.mkdir(photos);
    for (let i = 0; i < long; i++) {
      await Deno.copyFile(join(street, pairs[i % pairs.length].left), join(photos, `${i}.jpg`));
    }
    const images = new Float32Array(BATCH * size.height * size.width * 3).fill(plan.seed / 10);
    const network = async () => {
      for (let i = 0; i < long; i += BATCH) await predictor.run(images, undefined, true);
    };
    const predict = async (count: number, format: string) => {
      const started = performance.now();
      const { success, stderr } = await new Deno.Command("deno", {
        args: [
          ...["task", "--quiet", "predict", ...name ? ["--model", name] : []],
          ...["--format", format, "--overwrite", "--out", join(folder, "out")],
          ...Array.from({ length: count }, (_, i) => join(photos, `${i}.jpg`)),
        ],
      }).output();
      if (!success) throw new CyclopsError(`Cannot measure predict: ${new TextDecoder().decode(stderr)}`);
      return performance.now() - started;
    };
    await network(); // traces
    for (let round = 0; round < rounds; round++) {
      const started = performance.now();
      await network();
      times.network.push((performance.now() - started) / (Math.ceil(long / BATCH) * BATCH));
      for (const format of ["npy", "png"] as const) {
        const start = await predict(short, format);
        times[format].push((await predict(long, format) - start) / (long - short));
      }
    }
  } finally {
    predictor.dispose();
    await Deno.remove(folder, { recursive: true });
  }
  const bare = median(times.network);
  const row = (name: string, list: readonly number[]): TableRow => {
    const ms = median(list);
    return { name, cells: { ms, rate: 1000 / ms, share: 100 * bare / ms } };
  };
  return new Table({
    title: `Predicting JPEG files of 1242×375 px, model ${info.name} (${info.architecture}, ${
      formatSize(size)
    })`,
    columns: [
      { key: "ms", label: "ms per image", digits: 1 },
      { key: "rate", label: "images/s", digits: 1 },
      { key: "share", label: "% of the network's rate", digits: 0 },
    ],
    rows: [
      row(`network alone, batches of ${BATCH}`, times.network),
      row("predict --format npy", times.npy),
      row("predict --format png", times.png),
    ],
    notes: [
      `Medians of ${rounds} rounds in turns. predict: ${long} files less ${short}, so without its start.`,
    ],
  });
}

/** Replaces the PNG images below a folder by JPEG, as KITTI's users do to save space. */
async function convertToJpeg(folder: string): Promise<void> {
  const sharp = await loadSharp();
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) await convertToJpeg(path);
    else if (/image_0[23].*\.png$/.test(path)) {
      await sharp(path).jpeg({ quality: 92, chromaSubsampling: "4:4:4" }).toFile(path.replace(/png$/, "jpg"));
      await Deno.remove(path);
    }
  }
}
