/**
 * Predictions of networks for data sets, frames and batches of images, and their evaluation.
 *
 * @module
 */
import { compile, type Compiled } from "../backend/compile.ts";
import { type Tensor4D, tf } from "../backend/tf.ts";
import { UsageError } from "../base/errors.ts";
import { median } from "../base/random.ts";
import { imagePath, openDataset, type StereoDataset } from "../data/dataset.ts";
import { isManifest } from "../data/manifest.ts";
import { type FloatMap, readRgb, type RgbImage } from "../data/image.ts";
import { sequentialBatches } from "../data/loader.ts";
import { canonicalScales, type ImageSize, type StereoCamera } from "../geometry/camera.ts";
import { mirror, opposite, type View } from "../geometry/warp.ts";
import {
  CLOSED_GATES,
  imagePyramid,
  type Networks,
  type RefineOptions,
  runChain,
  splitAligned,
} from "../models/chain.ts";
import { runNetwork } from "../models/network.ts";
import type { Predictor } from "../models/student.ts";
import { type LoadedModel, loadModel } from "../training/model.ts";
import { extraMetrics } from "./dense.ts";
import {
  checkDisparities,
  combineFlipped,
  type CropBox,
  cropBox,
  type DepthMetrics,
  type Disparities,
  evaluateAll,
  type Evaluation,
  type Protocol,
  scoreFrame,
} from "./protocol.ts";
import { readTruth, type TruthKind, truthMap, truthReader } from "./truth.ts";

/** How a prediction is made. */
export interface PredictOptions {
  /** Size at which the network sees the image, px. */
  readonly size: ImageSize;
  /** The view that the network was trained to see. @default "left" */
  readonly view?: View;
  /**
   * Whose disparity: the student's, or the refined one of the whole chain, which needs all three networks and, where
   * the refine network is privileged, the opposite view. @default "student"
   */
  readonly network?: "student" | "teacher";
  readonly refine?: RefineOptions;
  /**
   * The baseline that the network predicts disparities of: the rig's own, or the canonical one; then frames need a
   * camera. @default "fraction"
   */
  readonly camera?: "fraction" | "canonical";
  /** Images at a time. @default 8 */
  readonly batch?: number;
}

/**
 * The disparity of the left image: for networks that see the left view the one aligned with their input, for networks
 * that see the right view the one that synthesizes the left view, as in the paper's wiring.
 *
 * @param images The seen view, [B, H, W, 3] in [0, 1].
 * @param scale What to multiply each image's disparity by, [B, 1, 1, 1]; see `canonicalScales`. @default 1
 * @param opposite The opposite view, which a privileged teacher sees, [B, H, W, 3].
 * @returns Fraction of the width, [B, H, W, 1].
 * @throws {UsageError} When the teacher is asked for and there is no refine network, or no opposite view for it.
 */
export function predictDisparity(
  networks: Networks,
  images: Tensor4D,
  options: PredictOptions,
  scale?: Tensor4D,
  opposite?: Tensor4D,
): Tensor4D {
  const { view = "left", network = "student", refine } = options;
  return tf.tidy(() => {
    let finest: Tensor4D;
    if (network === "student") finest = runNetwork(networks.student, images).disparities[0];
    else {
      if (!networks.refine || !refine) throw noTeacher();
      if (refine.privileged && !opposite) {
        throw new UsageError(
          "Cannot predict with the teacher: it is privileged and sees the opposite view, found one image; predict a " +
            "data set of stereo pairs, or with the student",
        );
      }
      const how = { view, refine, scale, opposite, gates: CLOSED_GATES };
      const chain = runChain(networks, imagePyramid(images), how);
      finest = chain.refined!.prediction.disparities[0];
    }
    const { source, target } = splitAligned(finest);
    const disparity = view === "left" ? source : target;
    return scale ? tf.mul(disparity, scale) : disparity;
  });
}

const noTeacher = () =>
  new UsageError("Cannot predict with the teacher: the checkpoint holds only a student, no refine network");

/** Whether a prediction needs the opposite view. */
function isPrivileged({ network, refine }: PredictOptions): boolean {
  return network === "teacher" && refine?.privileged === true;
}

/** Predictions for a data set. */
export interface Predictions {
  readonly plain: Disparities;
  /** Those of the mirrored images, as the network gave them, if requested. */
  readonly flipped?: Disparities;
}

/**
 * Predicts every frame of a data set, as fractions of the width of its own camera.
 *
 * @param options `flip` also predicts the mirrored images, for flip post-processing.
 * @throws {UsageError} When flipping is requested of networks that see the right view (the mirrored image's disparity
 * belongs to a camera that does not exist), or of a privileged teacher (nobody took the mirrored image's opposite view).
 */
export async function predictDataset(
  networks: Networks,
  dataset: Omit<StereoDataset, "identity">,
  options: PredictOptions & { readonly flip?: boolean; readonly onProgress?: (done: number) => void },
): Promise<Predictions> {
  const { size, view = "left", camera = "fraction", flip = false, batch = 8 } = options;
  const privileged = isPrivileged(options);
  if (flip && (privileged || view === "right")) {
    const found = privileged ? "teacher is privileged" : "network sees the right view, expected the left";
    throw new UsageError(`Cannot average with the mirrored image: this ${found}`);
  }
  const { height, width } = size;
  const count = dataset.pairs.length;
  const maps = () => ({ count, height, width, data: new Float32Array(count * height * width) });
  const plain = maps(), flipped = flip ? maps() : undefined;
  // Compiling takes as long as predicting some batches.
  using predict = compile(
    (x: Tensor4D, scale: Tensor4D | null, other: Tensor4D | null) =>
      predictDisparity(networks, x, options, scale ?? undefined, other ?? undefined),
    { enabled: count > 8 * batch, frozen: true },
  );
  let done = 0;
  for await (
    const images of sequentialBatches(dataset, { size, batch, side: privileged ? undefined : view })
  ) {
    const shape: [number, number, number, number] = [images.batch, height, width, 3];
    const input = tf.tensor4d(images[view], shape);
    const other = privileged ? tf.tensor4d(images[opposite(view)], shape) : null;
    const scale = camera === "canonical"
      ? tf.tensor4d(canonicalScales(images.cameras ?? [], images.ids), [images.batch, 1, 1, 1])
      : null;
    const run = async (into: Disparities, x: Tensor4D) => {
      const map = predict(x, scale, other);
      into.data.set(await map.data(), done * height * width);
      map.dispose();
    };
    await run(plain, input);
    if (flipped) {
      const mirrored = mirror(input);
      await run(flipped, mirrored);
      mirrored.dispose();
    }
    tf.dispose([input, ...[scale, other].filter((x) => x !== null)]);
    done += images.batch;
    options.onProgress?.(done);
  }
  return { plain, flipped };
}

/** What {@linkcode predictImage} compiled last. */
let compiled: {
  readonly networks: Networks;
  images: number;
  readonly predict: Compiled<PredictInputs, Tensor4D>;
} | undefined;
type PredictInputs = [image: Tensor4D, scale: Tensor4D | null, options: PredictOptions];

/** Compiling takes as long as predicting some images one operation at a time. */
const EAGER_IMAGES = 8;

/** {@linkcode predictDisparity}, compiled once the same networks have predicted some images. */
function predictAgain(networks: Networks, ...[image, scale, options]: PredictInputs): Tensor4D {
  if (compiled?.networks !== networks) {
    compiled?.predict.dispose();
    const predict = compile(
      (...[image, scale, options]: PredictInputs) =>
        predictDisparity(networks, image, options, scale ?? undefined),
      { name: "predict", frozen: true },
    );
    compiled = { networks, images: 0, predict };
  }
  if (++compiled.images > EAGER_IMAGES) return compiled.predict(image, scale, options);
  return predictDisparity(networks, image, options, scale ?? undefined);
}

/**
 * Predicts one image.
 *
 * @param image Already at the network's size.
 * @param options `flip` averages with the mirrored image's prediction; `scale` multiplies it, see `canonicalScales`.
 * @returns Fraction of the width; without `scale`, a canonical network's is that of the canonical camera.
 */
export async function predictImage(
  networks: Networks,
  image: RgbImage,
  options: PredictOptions & { readonly flip?: boolean; readonly scale?: number },
): Promise<FloatMap> {
  const { width, height, data } = image, { size, view, network, refine } = options;
  const input = tf.tensor4d(Float32Array.from(data, (v) => v / 255), [1, height, width, 3]);
  const predict = async (x: Tensor4D): Promise<FloatMap> => {
    const scale = options.scale === undefined ? null : tf.tensor4d([options.scale], [1, 1, 1, 1]);
    const map = predictAgain(networks, x, scale, { size, view, network, refine });
    const values = await map.data() as Float32Array;
    tf.dispose([x, map, ...scale ? [scale] : []]);
    return { width, height, data: values };
  };
  const mirrored = options.flip ? mirror(input) : undefined;
  const plain = await predict(input);
  return mirrored ? combineFlipped(plain, await predict(mirrored)) : plain;
}

/** A loaded model as a {@linkcode Predictor}. */
export function openPredictor(
  model: LoadedModel,
  { network = "student" }: Pick<PredictOptions, "network"> = {},
): Predictor {
  const { networks, size, refine, options: { view } } = model;
  const { height, width } = size;
  if (network === "teacher" && !networks.refine) throw noTeacher();
  const eager = (x: Tensor4D, scale: Tensor4D) =>
    predictDisparity(networks, x, { size, view, network, refine }, scale);
  const compiled = compile(eager, { name: "predict", frozen: true });
  let runs = 0;
  return {
    async run(images, scales, many) {
      const batch = images.length / (height * width * 3);
      const input = tf.tensor4d(images, [batch, height, width, 3]);
      const scale = tf.tensor4d(scales ?? new Float32Array(batch).fill(1), [batch, 1, 1, 1]);
      let map: Tensor4D | undefined;
      try {
        map = many || ++runs > EAGER_IMAGES ? await compiled.later(input, scale) : eager(input, scale);
        return await map.data() as Float32Array;
      } finally {
        tf.dispose([input, scale, ...map ? [map] : []]);
      }
    },
    dispose() {
      compiled.dispose();
      model.dispose();
    },
  };
}

/** A frame, predicted and scored: what a row of a picture shows. */
export interface FramePrediction {
  readonly name: string;
  /** The photograph at its own size. */
  readonly input: RgbImage;
  /** Prediction, fraction of the width. */
  readonly disparity: FloatMap;
  /** True depth, m, 0 where unknown. */
  readonly truth: FloatMap;
  readonly camera: StereoCamera;
  /** Pixels that the protocol evaluates. */
  readonly crop: CropBox;
  readonly metrics: DepthMetrics;
}

/** Predicts frame `index` of a data set and scores it. */
export async function predictFrame(
  networks: Networks,
  dataset: StereoDataset,
  index: number,
  options: PredictOptions & { readonly truth: TruthKind; readonly protocol: Protocol },
): Promise<FramePrediction> {
  const pair = dataset.pairs[index];
  const path = imagePath(dataset, pair, options.view ?? "left");
  const scale = options.camera === "canonical" ? canonicalScales([pair.camera], [pair.left])[0] : undefined;
  const disparity = await predictImage(networks, await readRgb(path, options.size), { ...options, scale });
  const truth = await readTruth(dataset.root, pair, options.truth);
  const [errors] = scoreFrame(truth, disparity, [options.protocol]);
  return {
    name: pair.left.replace(/^.*?\/(.*)\/image_02\/data\/(.*)\.\w+$/, "$1 $2"),
    input: await readRgb(path),
    disparity,
    truth: truthMap(truth),
    camera: truth.camera,
    crop: cropBox(options.protocol.crop, truth.camera.imageSize),
    metrics: errors.metrics(),
  };
}

/**
 * Loads a run's networks and predicts every frame of the test part of its data, or of other data.
 *
 * @param run A run's folder, a checkpoint's own, a model file, or the name of a model that comes with Cyclops.
 * @param options.checkpoint Which of the run's checkpoints. @default "best"
 * @param options.network Whose disparity. @default "student"
 * @param options.flip Also predict the mirrored images. @default false
 * @param options.data Root folder of the data. @default the run's own
 * @param options.split As in `openDataset`. @default the run's own, of which the test part is predicted
 * @param options.shard Only every `of`-th frame, from `index` on. @default all
 * @param options.onProgress Called at the start and after each batch with how many frames are done.
 * @returns Predictions, the frames in their order, and the checkpoint's folder.
 * @throws {UsageError} When the run's own split has no test part, or flipping is impossible.
 * @throws {CyclopsError} When checkpoint or data are missing or damaged, or a prediction is not a number.
 *
 * @example
 * ```ts ignore
 * const { dataset, plain } = await predictRun("runs/first");
 * const metrics = await evaluate({ ...dataset, disparities: plain, crop: "garg", capM: 80 });
 * ```
 */
export async function predictRun(
  run: string,
  options: {
    readonly checkpoint?: "best" | "latest";
    readonly network?: PredictOptions["network"];
    readonly flip?: boolean;
    readonly data?: string;
    readonly split?: string;
    readonly dataset?: Omit<StereoDataset, "identity">;
    readonly shard?: { readonly index: number; readonly of: number };
    readonly onProgress?: (done: number, total: number) => void;
  } = {},
): Promise<
  Predictions & { readonly dataset: Omit<StereoDataset, "identity">; readonly checkpoint: string }
> {
  const { network, flip, shard = { index: 0, of: 1 }, onProgress } = options;
  const model = await loadModel(run, options.checkpoint);
  const { folder } = model;
  try {
    if (network === "teacher" && model.withoutTeacher) {
      throw new UsageError(`Cannot predict with the teacher of ${folder}: ${model.withoutTeacher}`);
    }
    const { data, split, holdout, view, cropBottom } = model.options;
    if (!model.facts && options.data === undefined && !options.dataset) {
      throw new UsageError(`Cannot evaluate ${run} on its own data: a model file has none; give --data`);
    }
    if (
      options.split === undefined && !options.dataset && !isManifest(options.data ?? data) &&
      !["street", "eigen", "cityscapes"].includes(split)
    ) {
      throw new UsageError(
        `Cannot evaluate ${run} on its own data: its split file ${split} has no test part; give --split`,
      );
    }
    const whole = options.dataset ?? await openDataset({
      data: options.data ?? data,
      split: options.split ?? split,
      part: "test",
      side: isPrivileged({ ...model, network }) ? undefined : view,
      // Nothing was trained on other data than the run's own: a manifest without splits is evaluated whole.
      holdout: options.data === undefined ? holdout : 1,
      cropBottom: options.data === undefined ? cropBottom : undefined,
    });
    const dataset = { ...whole, pairs: whole.pairs.filter((_, i) => i % shard.of === shard.index) };
    const total = dataset.pairs.length;
    onProgress?.(0, total);
    const predictions = await predictDataset(model.networks, dataset, {
      size: model.size,
      view,
      camera: model.options.camera,
      network,
      refine: model.refine,
      flip,
      onProgress: (done) => onProgress?.(done, total),
    });
    for (const maps of Object.values(predictions)) if (maps) checkDisparities(maps, folder);
    return { ...predictions, dataset, checkpoint: folder };
  } finally {
    model.dispose();
  }
}

/** Metrics of networks under one protocol. */
export interface NetworkEvaluation extends Protocol {
  readonly truth: TruthKind;
  /** Whether the mirrored image's prediction was averaged in. */
  readonly flip: boolean;
  readonly metrics: Evaluation;
}

/**
 * Predicts a data set once and evaluates the predictions under every protocol, against every truth, with and without
 * flip averaging; the first protocol's metrics hold what else the truth allows ({@linkcode extraMetrics}).
 *
 * @param options.truths Sources of true depths. @default ["lidar"]
 * @param options.flip Also evaluate with flip averaging. @default true for networks that see the left view alone
 */
export async function evaluateNetworks(
  networks: Networks,
  dataset: StereoDataset,
  options: PredictOptions & {
    readonly protocols: readonly Protocol[];
    readonly truths?: readonly TruthKind[];
    readonly flip?: boolean;
    readonly onProgress?: (done: number) => void;
  },
): Promise<NetworkEvaluation[]> {
  const { protocols, truths = ["lidar"], view = "left" } = options;
  const { flip = view === "left" && !isPrivileged(options) } = options;
  const { plain, flipped } = await predictDataset(networks, dataset, { ...options, flip });
  const { root, pairs } = dataset;
  const results: NetworkEvaluation[] = [];
  for (const truth of truths) {
    const reader = truthReader(root, truth, { keep: flip });
    for (const averaged of flipped ? [undefined, flipped] : [undefined]) {
      const input = {
        root,
        pairs,
        disparities: plain,
        flipped: averaged,
        truth,
        reader,
        extra: extraMetrics,
      };
      for (const [i, metrics] of (await evaluateAll(input, protocols)).entries()) {
        results.push({ ...protocols[i], truth, flip: averaged !== undefined, metrics });
      }
    }
  }
  return results;
}

/** Median time to predict one image at the network's size, including the transfer of the result, ms. */
export async function timePrediction(
  networks: Networks,
  options: PredictOptions,
  repeats = 10,
): Promise<number> {
  const { height, width } = options.size;
  // A privileged teacher gets the image as the opposite view, too.
  using predict = compile(
    (x: Tensor4D) => predictDisparity(networks, x, options, undefined, x),
    { frozen: true },
  );
  const image = tf.fill([1, height, width, 3], 0.5) as Tensor4D;
  const times: number[] = [];
  for (let i = 0; i < repeats + 2; i++) {
    const started = performance.now();
    const map = predict(image);
    await map.data();
    map.dispose();
    if (i >= 2) times.push(performance.now() - started);
  }
  image.dispose();
  return median(times);
}
