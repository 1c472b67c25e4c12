/**
 * What the notebooks hide: the data they work on and the networks of earlier notebooks. The method is in the cells.
 *
 * @module
 */
import { dirname, fromFileUrl, join } from "@std/path";
import { cpuFeatures } from "../lib/backend/ops.ts";
import { exists, readJson, writeAtomic } from "../lib/base/files.ts";
import { Progress } from "../lib/base/terminal.ts";
import { resolveAugmentation } from "../lib/data/augment.ts";
import { readGray16 } from "../lib/data/image.ts";
import { type Calibration, depthPath, readDepthPng } from "../lib/data/kitti.ts";
import { encodeSafetensors } from "../lib/data/safetensors.ts";
import { readSplit } from "../lib/data/split.ts";
import type { Crop, Evaluation } from "../lib/evaluation/protocol.ts";
import { type TruthKind, truthMap } from "../lib/evaluation/truth.ts";
import { resizeCamera } from "../lib/geometry/camera.ts";
import type { NetworkName } from "../lib/training/stages.ts";
import { collectWeights, restoreWeights } from "../lib/training/weights.ts";
import {
  depthFromDisparity,
  type DepthMetrics,
  disparityFromDepth,
  evaluate,
  type FloatMap,
  generateStreet,
  imagePyramid,
  type ImageSize,
  imageSize,
  type Network,
  type Networks,
  openBatches,
  openDataset,
  parseFrame,
  photometricMap,
  readCalibration,
  readDisparities,
  readRgb,
  readSafetensors,
  readTruth,
  resolveTraining,
  type RgbImage,
  selectBackend,
  type StereoBatch,
  type StereoCamera,
  type StereoDataset,
  Table,
  type Tensor,
  type Tensor4D,
  tf,
  Trainer,
  trainSetMean,
  type Truth,
  warp,
} from "../lib/mod.ts";

const PROJECT = join(dirname(fromFileUrl(import.meta.url)), "..");
const KITTI_DIR = Deno.env.get("KITTI_DIR") || undefined;
/** A few real frames with LiDAR and a stereo pair, where somebody has them. */
export const KITTI_SAMPLE: string | undefined = Deno.env.get("KITTI_SAMPLE") || undefined;
/** Where notebooks keep what they make. */
export const RUNS: string = join(PROJECT, KITTI_DIR ? "runs/notebooks/kitti" : "runs/notebooks");
/** Results of the ablation on streets. */
export const STREET_RESULTS: string = join(PROJECT, "data/results/street/results.json");
/** The size at which notebooks 04 to 07 train, px. */
export const SIZE: ImageSize = { width: 192, height: 64 };
/** Batches of notebooks 04 to 07: small, so that a minute is enough; pairs are mirrored half of the time. */
export const BATCHES = {
  size: SIZE,
  batch: 8,
  seed: 1,
  augmentation: resolveAugmentation({ colourProbability: 0 }),
} as const;
/** The training options that go with them; small images want more smoothness. */
export const RECIPE = {
  size: SIZE,
  batch: 8,
  coarse: 0,
  photometricViews: "both",
  smoothnessWeight: 0.2,
} as const;
/** The size at which geometry and losses are looked at, px. */
export const LARGE: ImageSize = { width: 416, height: 128 };

/** Starts the backend; a table of what this notebook runs on. */
export async function startNotebook(): Promise<Table> {
  const { name, version, devices } = await selectBackend();
  const { model, cores } = cpuFeatures();
  const facts = {
    processor: `${model}, ${cores} cores`,
    backend: `${name} ${version} on ${devices.join(", ")}`,
    runtime: `Deno ${Deno.version.deno}, TypeScript ${Deno.version.typescript}`,
    data: KITTI_DIR ? `KITTI raw in ${KITTI_DIR}` : "rendered street scenes (set KITTI_DIR for real ones)",
  };
  return new Table({
    corner: "this run",
    columns: [{ key: "value", label: "" }],
    rows: Object.entries(facts).map(([name, value]) => ({ name, cells: { value } })),
  });
}

// ---------------------------------------------------------------- data

/** Training frames, at most 40 test frames of other drives, and the densest truth there is. */
export interface NotebookData {
  readonly name: string;
  readonly train: StereoDataset;
  readonly test: StereoDataset;
  readonly truth: TruthKind;
}

/** KITTI raw from KITTI_DIR, or else 180 street pairs (160 MB in data/street-notebooks, rendered at the first use). */
export async function openData(): Promise<NotebookData> {
  if (KITTI_DIR) {
    const list = join(KITTI_DIR, "split.txt");
    const options = { data: KITTI_DIR, split: await exists(list) ? list : "eigen" };
    const [train, test] = [
      await openDataset({ ...options, part: "train" }),
      await openDataset({ ...options, part: "test" }),
    ];
    return { name: "KITTI", train, test: first(test, 40), truth: "lidar" };
  }
  const data = join(PROJECT, "data/street-notebooks");
  let progress: Progress | undefined;
  await generateStreet({ out: data, drives: 90, frames: 2, seed: 5, overwrite: true }, {
    onProgress: (done, total) => {
      progress ??= new Progress({ label: "rendering streets", total, unit: "pairs" });
      progress.update(done);
    },
  });
  progress?.finish("street scenes rendered");
  const [train, test] = [
    await openDataset({ data, part: "train" }),
    await openDataset({ data, part: "test" }),
  ];
  return { name: "street", train, test: first(test, 40), truth: "dense" };
}

/** The first pairs of a data set. */
export function first(dataset: StereoDataset, count: number): StereoDataset {
  return { ...dataset, pairs: dataset.pairs.slice(0, count) };
}

/** One stereo pair and what is known about it. */
export interface Frame {
  readonly name: string;
  readonly left: RgbImage;
  readonly right: RgbImage;
  readonly camera: Calibration;
  /** Depth of the left view, m; 0 where unknown: every pixel of a street but the sky, the LiDAR points of KITTI. */
  readonly depth: FloatMap;
  /** Disparity of the left view, fraction of width; NaN where unknown, 0 in a street's sky. */
  readonly disparity: FloatMap;
  /** Disparity of the right view; streets only. */
  readonly rightDisparity?: FloatMap;
  readonly lidar: Truth;
}

/** Reads frame `index` at the given size; begins anew where a set is shorter. */
export async function readFrame(
  dataset: StereoDataset,
  index: number,
  size: ImageSize = LARGE,
): Promise<Frame> {
  const { root, pairs } = dataset;
  const pair = pairs[index % pairs.length], frame = parseFrame(pair.left);
  const [left, right] = await Promise.all(
    [pair.left, pair.right].map((path) => readRgb(join(root, path), size)),
  );
  const lidar = await readTruth(root, pair, "lidar");
  const camera = resizeCamera(await readCalibration(root, frame.date), size);
  const dense = await exists(join(root, depthPath(frame, 2)));
  const depthOf = async (view: 2 | 3) =>
    nearest(await readDepthPng(join(root, depthPath(frame, view))), size);
  const depth = dense ? await depthOf(2) : nearest(truthMap(lidar), size);
  const toDisparity = (map: FloatMap): FloatMap => ({
    ...size,
    data: map.data.map((z) => z > 0 ? disparityFromDepth(z, camera) : dense ? 0 : NaN),
  });
  const rightDisparity = dense ? toDisparity(await depthOf(3)) : undefined;
  const name = `drive ${frame.drive}, frame ${frame.index}`;
  return { name, left, right, camera, depth, disparity: toDisparity(depth), rightDisparity, lidar };
}

/** Takes the nearest pixel: the mean of near and far is the depth of nothing. */
function nearest(map: FloatMap, { width, height }: ImageSize): FloatMap {
  const data = Float32Array.from({ length: width * height }, (_, i) => {
    const x = Math.floor((i % width + 0.5) * map.width / width);
    const y = Math.floor((Math.floor(i / width) + 0.5) * map.height / height);
    return map.data[y * map.width + x];
  });
  return { width, height, data };
}

/** A frame whose disparity has no gaps: where LiDAR is all there is, what a search in both views finds. */
export async function readDenseFrame(dataset: StereoDataset, index: number): Promise<Frame> {
  const frame = await readFrame(dataset, index);
  return frame.rightDisparity ? frame : { ...frame, disparity: search(frame) };
}

/** The size near 416 px wide that keeps a picture's proportions; sides are multiples of 8 px. */
export function ownSize({ width, height }: ImageSize): ImageSize {
  return { width: LARGE.width, height: Math.max(32, Math.round(LARGE.width * height / width / 8) * 8) };
}

/** A stereo pair to match: one's own, or else one of KITTI Stereo 2015 (KITTI_SAMPLE), or else a street. */
export async function readOwnPair(left: string, right: string, camera: StereoCamera | undefined) {
  const sample = (folder: string) => join(KITTI_SAMPLE ?? "", "stereo2015", folder, "000046_10.png");
  const own = left !== "" && right !== "";
  if (!own && (!KITTI_SAMPLE || !await exists(sample("image_2")))) {
    const frame = await readFrame((await openData()).test, 14);
    return { ...frame, source: "A rendered street", truth: frame.disparity as FloatMap | undefined };
  }
  const files = own ? [left, right] : [sample("image_2"), sample("image_3")];
  const size = ownSize(await imageSize(files[0]));
  const [l, r] = await Promise.all(files.map((file) => readRgb(file, size)));
  if (own) {
    return { left: l, right: r, camera: resizeCamera(camera!, size), source: "Your pair", truth: undefined };
  }
  const benchmark = await readCalibration(join(KITTI_SAMPLE!, "raw"), "2011_09_26"); // its drives' cameras
  const px256 = await readGray16(sample("disp_occ_0")); // px · 256, 0 where unknown
  const fraction = Float32Array.from(px256.data, (value) => value ? value / 256 / px256.width : NaN);
  const truth = nearest({ ...px256, data: fraction }, size);
  return { left: l, right: r, camera: resizeCamera(benchmark, size), source: "KITTI Stereo 2015", truth };
}

/** A row of an independent evaluation. */
interface ExpectedRow extends DepthMetrics {
  readonly capMetres: number;
  readonly crop: Crop;
}

/** Frames with predictions: KITTI's where a folder has `split.txt` and `disparities.npy`, else three streets. */
export async function openPredictions() {
  for (const root of [KITTI_SAMPLE && join(KITTI_SAMPLE, "raw"), KITTI_DIR]) {
    if (!root || !await exists(join(root, "split.txt")) || !await exists(join(root, "disparities.npy"))) {
      continue;
    }
    const reference = join(root, "expected.json");
    const expected = await exists(reference)
      ? (await readJson(reference) as { rows: ExpectedRow[] }).rows
      : [];
    const pairs = await readSplit(join(root, "split.txt"));
    const disparities = await readDisparities(join(root, "disparities.npy"));
    return { name: "KITTI", root, pairs, disparities, source: "disparities.npy", expected };
  }
  const { name, test } = await openData();
  const chosen = [14, 2, 8];
  const maps = [];
  for (const i of chosen) maps.push(search(await readFrame(test, i)).data);
  const data = new Float32Array(maps.flatMap((map) => [...map]));
  const disparities = { ...LARGE, count: maps.length, data };
  const source = "search in both views (notebook 03)";
  return {
    name,
    root: test.root,
    pairs: chosen.map((i) => test.pairs[i]),
    disparities,
    source,
    expected: [] as ExpectedRow[],
  };
}

/** Notebook 03's search at half the resolution: at each pixel the disparity whose 15×15 px window fits best. */
export function search(pair: { readonly left: RgbImage; readonly right: RgbImage }, max = 0.2): FloatMap {
  const { width, height } = pair.left;
  const found = tf.tidy(() => {
    const [left, right] = [pair.left, pair.right].map((image) => imagePyramid(imageTensor(image))[1]);
    const [, rows, columns] = left.shape;
    let lowest: Tensor = tf.fill([1, rows, columns, 1], Infinity), best: Tensor = tf.zerosLike(lowest);
    for (let px = 0; px <= max * columns; px += 0.5) {
      const disparity = tf.fill([1, rows, columns, 1], px / columns) as Tensor4D;
      const error = tf.avgPool(photometricMap(warp(right, disparity, "left"), left), 15, 1, "same");
      const better = tf.less(error, lowest);
      [lowest, best] = [tf.minimum(error, lowest), tf.where(better, disparity, best)];
    }
    return tf.image.resizeBilinear(best as Tensor4D, [height, width], false, true);
  });
  const map = toMap(found);
  found.dispose();
  return map;
}

/** An image as a tensor [1,H,W,3] in [0,1]. */
export function imageTensor({ width, height, data }: RgbImage): Tensor4D {
  return tf.tensor4d(Float32Array.from(data, (value) => value / 255), [1, height, width, 3]);
}

/** A batch as tensors [B,H,W,3] in [0,1]. */
export function batchTensors({ left, right, batch, height, width }: StereoBatch) {
  const [l, r] = [left, right].map((view) => tf.tensor4d(view, [batch, height, width, 3]));
  return { left: l, right: r };
}

/** A map as a tensor [1,H,W,1]. */
export function mapTensor({ width, height, data }: FloatMap): Tensor4D {
  return tf.tensor4d(data, [1, height, width, 1]);
}

/** A tensor [1,H,W,1] as a map. */
export function toMap(tensor: Tensor4D): FloatMap {
  const [, height, width] = tensor.shape;
  return { width, height, data: (tensor.dataSync() as Float32Array).slice() };
}

/** A tensor [1,H,W,3] in [0,1] as an image. */
export function toImage(tensor: Tensor4D): RgbImage {
  const [, height, width] = tensor.shape;
  const data = Uint8Array.from(tensor.dataSync(), (v) => Math.round(255 * Math.min(1, Math.max(0, v))));
  return { width, height, data };
}

// ---------------------------------------------------------------- numbers

/** Mean |depth − true depth| / true depth over every pixel whose true depth is known and below 80 m. */
export function absRel({ data }: FloatMap, { depth, camera }: Frame): number {
  const errors = [...depth.data.entries()].filter(([, truth]) => truth > 0 && truth < 80).map(([i, truth]) =>
    Math.abs(Math.min(80, depthFromDisparity(data[i], camera)) - truth) / truth
  );
  return errors.reduce((sum, error) => sum + error, 0) / errors.length;
}

/** How every notebook evaluates: LiDAR truth of the test drives, Garg's crop, 80 m. */
export const PROTOCOL = { crop: "garg", capM: 80 } as const;

/** The train-set mean on the test frames: the same map, hence the same numbers, in all notebooks. */
export async function scoreTrainSetMean({ train, test, truth }: NotebookData): Promise<Evaluation> {
  const disparities = await trainSetMean({
    root: train.root,
    pairs: train.pairs.slice(0, 200),
    size: SIZE,
    truth,
  });
  return await evaluate({ root: test.root, pairs: test.pairs.slice(0, 40), disparities, ...PROTOCOL });
}

export { rankCorrelation } from "../lib/evaluation/gate.ts";

// ---------------------------------------------------------------- networks of earlier notebooks

/** What notebooks 04 to 06 train. */
const PLANS = {
  student: { stage: "half-cycle", steps: 250 },
  backward: { stage: "cycle", steps: 80, freeze: ["student"], warmup: 20, learningRate: 1e-3 },
  refine: { stage: "teacher", steps: 80, freeze: ["student", "backward"], warmup: 20, learningRate: 1e-3 },
} as const;

/** Keeps a network for the notebooks that follow. */
export async function saveNetwork(network: Network): Promise<void> {
  const weights = encodeSafetensors(await collectWeights([network]));
  await Deno.mkdir(RUNS, { recursive: true });
  await writeAtomic(join(RUNS, `${network.scope}.safetensors`), weights);
}

/** The networks up to `last` as notebooks 04 to 06 left them; what is missing is trained now, by the library. */
export async function loadNetworks(last: keyof typeof PLANS): Promise<Required<Networks>> {
  const { train } = await openData();
  const networks: Record<string, Network> = {};
  for (const [scope, plan] of Object.entries(PLANS)) {
    const trainer = new Trainer(resolveTraining({ ...RECIPE, ...plan, data: train.root }), plan.steps);
    for (const [name, network] of trainer.networks) {
      const path = join(RUNS, `${name}.safetensors`);
      if (await exists(path)) restoreWeights(network, (await readSafetensors(path)).tensors, path);
      else await trainNow(trainer, train, scope);
    }
    networks[scope] = trainer.networks.get(scope as NetworkName)!;
    if (scope === last) break;
  }
  return networks as unknown as Required<Networks>;
}

async function trainNow(trainer: Trainer, dataset: StereoDataset, scope: string): Promise<void> {
  const progress = new Progress({ label: `${scope} network`, total: trainer.steps });
  using batches = openBatches(dataset, BATCHES);
  while (trainer.step < trainer.steps) {
    await trainer.update(await batches.next());
    progress.update(trainer.step);
  }
  progress.finish(`${scope} network trained: ${trainer.steps} updates`);
  await saveNetwork(trainer.networks.get(scope as NetworkName)!);
}
