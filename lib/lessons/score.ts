/**
 * How good a model is, in one line of a cell.
 *
 * @module
 */
import type { StereoDataset } from "../data/dataset.ts";
import { trainSetMean } from "../evaluation/baseline.ts";
import { measure } from "../evaluation/measure.ts";
import { evaluate, type Metrics, type Protocol } from "../evaluation/protocol.ts";
import { refineWiring } from "../training/options.ts";
import { spreadPairs } from "../training/validation.ts";
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
): Promise<Metrics> {
  const { networks, size, options } = model;
  const how = { size, view: options.view, of, refine: refineWiring(options), flip: false } as const;
  const [{ metrics }] = await measure(networks, spreadPairs(dataset, MOST), {
    ...how,
    protocols: [LESSON_PROTOCOL],
  });
  return metrics;
}

/**
 * Evaluates the train-set mean on the frames of {@linkcode lessonScore}.
 *
 * @param size Of the map, px: the network's, for a fair comparison.
 */
export async function meanScore({ train, test }: LessonData, size: LessonModel["size"]): Promise<Metrics> {
  const disparities = await trainSetMean({ root: train.root, pairs: spreadPairs(train, 200).pairs, size });
  const { root, pairs } = spreadPairs(test, MOST);
  return await evaluate({ root, pairs, disparities, ...LESSON_PROTOCOL });
}
