/**
 * Everything that a table says about a model, measured in one go.
 *
 * @module
 */
import { tf } from "../backend/tf.ts";
import { median } from "../base/random.ts";
import type { StereoDataset } from "../data/dataset.ts";
import type { Networks } from "../models/chain.ts";
import { predictDataset, predictDisparity, type PredictOptions } from "./predict.ts";
import { evaluateAll, type Metrics, type Protocol } from "./protocol.ts";
import { type TruthKind, truthReader } from "./truth.ts";

/** Metrics of one model under one protocol. */
export interface Measurement extends Protocol {
  /** Where true depths came from. */
  readonly truth: TruthKind;
  /** Whether the mirrored image's prediction was averaged in. */
  readonly flip: boolean;
  /** What came out. */
  readonly metrics: Metrics;
}

/** What to measure. */
export interface MeasureOptions extends PredictOptions {
  /** Crops and caps. */
  readonly protocols: readonly Protocol[];
  /** Where true depths come from; several are measured from the same predictions. @default ["lidar"] */
  readonly truths?: readonly TruthKind[];
  /** Measure with flip averaging, too. @default true for networks that see the left view */
  readonly flip?: boolean;
  /** Called after each batch of predictions with how many frames are done. */
  readonly onProgress?: (done: number) => void;
}

/**
 * Predicts a data set once and evaluates the predictions under every protocol, against every truth, with and without
 * flip averaging.
 */
export async function measure(
  networks: Networks,
  dataset: StereoDataset,
  options: MeasureOptions,
): Promise<Measurement[]> {
  const { protocols, truths = ["lidar"], view = "left", flip = view === "left" } = options;
  const { plain, flipped } = await predictDataset(networks, dataset, { ...options, flip });
  const { root, pairs } = dataset;
  const measurements: Measurement[] = [];
  for (const truth of truths) {
    const reader = truthReader(root, truth, { keep: flip });
    for (const averaged of flipped ? [false, true] : [false]) {
      const input = {
        root,
        pairs,
        disparities: plain,
        flipped: averaged ? flipped : undefined,
        truth,
        reader,
      };
      const metrics = await evaluateAll(input, protocols);
      metrics.forEach((m, i) => measurements.push({ ...protocols[i], truth, flip: averaged, metrics: m }));
    }
  }
  return measurements;
}

/** Median time to predict one image at the network's size, ms; includes bringing the result back from the device. */
export async function timePrediction(
  networks: Networks,
  options: PredictOptions,
  repeats = 10,
): Promise<number> {
  const { height, width } = options.size;
  const image = tf.fill([1, height, width, 3], 0.5) as Parameters<typeof predictDisparity>[1];
  const times: number[] = [];
  for (let i = 0; i < repeats + 2; i++) {
    const started = performance.now();
    const map = predictDisparity(networks, image, options);
    await map.data();
    map.dispose();
    if (i >= 2) times.push(performance.now() - started);
  }
  image.dispose();
  return median(times);
}
