/**
 * How good a model is, in one line of a cell.
 *
 * @module
 */
import type { StereoDataset } from "../data/dataset.ts";
import { evaluateNetworks } from "../evaluation/predict.ts";
import { evaluate, type Evaluation, type Protocol } from "../evaluation/protocol.ts";
import { trainSetMean } from "../evaluation/truth.ts";
import { refineOptions } from "../training/options.ts";
import { spreadPairs } from "../training/validation.ts";
import type { ImageSize } from "../geometry/camera.ts";
import type { LessonData } from "./data.ts";
import type { LessonModel } from "./training.ts";

/** How notebooks evaluate: as the field does. */
export const LESSON_PROTOCOL: Protocol = { crop: "garg", capM: 80 };

/** Most frames of an evaluation: KITTI has hundreds. */
const MOST = 40;

/** Evaluates a model's student, or its whole chain as the teacher, on frames spread over a data set; laser truth. */
export async function lessonScore(
  model: LessonModel,
  dataset: StereoDataset,
  of: "student" | "teacher" = "student",
): Promise<Evaluation> {
  const { networks, size, options } = model;
  const how = { size, view: options.view, network: of, refine: refineOptions(options), flip: false } as const;
  const [{ metrics }] = await evaluateNetworks(networks, spreadPairs(dataset, MOST), {
    ...how,
    protocols: [LESSON_PROTOCOL],
  });
  return metrics;
}

/**
 * Evaluates the train-set mean, made of the best truth there is, on the frames of {@linkcode lessonScore}.
 *
 * @param data What it is the mean of.
 * @param dataset What it is evaluated on.
 * @param size Of the map, px: the network's, for a fair comparison.
 */
export async function meanScore(
  data: Pick<LessonData, "train" | "truth">,
  dataset: StereoDataset,
  size: ImageSize,
): Promise<Evaluation> {
  const { train, truth } = data;
  const seen = spreadPairs(train, 200).pairs;
  const disparities = await trainSetMean({ root: train.root, pairs: seen, size, truth });
  const { root, pairs } = spreadPairs(dataset, MOST);
  return await evaluate({ root, pairs, disparities, ...LESSON_PROTOCOL });
}
