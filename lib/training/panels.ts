/**
 * What a chain of networks sees and makes of it, side by side.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import { disparityToRgb, mapToRgb } from "../charts/colormap.ts";
import { grid, type GridCell, type Picture } from "../charts/picture.ts";
import type { StereoBatch } from "../data/loader.ts";
import { type FloatMap, imageFromUnit, type RgbImage } from "../data/image.ts";
import { opposite } from "../geometry/warp.ts";
import { CLOSED_GATES, halfCycle, imagePyramid, type Networks, runChain } from "../models/chain.ts";
import type { ValidationWiring } from "./validation.ts";

/** Difference of two images that is drawn brightest. */
const STRONG_DIFFERENCE = 0.3;

async function rgb(image: Tensor4D): Promise<RgbImage> {
  const [, height, width] = image.shape;
  return imageFromUnit({ width, height }, await image.data());
}

async function disparityRgb(values: Tensor4D): Promise<RgbImage> {
  return disparityToRgb(await map(values));
}

async function differenceRgb(values: Tensor4D): Promise<RgbImage> {
  return mapToRgb(await map(values), { min: 0, max: STRONG_DIFFERENCE, map: "magma" });
}

async function map(values: Tensor4D): Promise<FloatMap> {
  const [, height, width] = values.shape;
  return { width, height, data: (await values.data()).slice() as Float32Array };
}

/** A column: its heading, what it shows and how. */
type Column = readonly [string, Tensor4D, (values: Tensor4D) => Promise<RgbImage>];

/** What {@linkcode chainPanel} draws. */
export interface PanelInput {
  /** The networks that learn, or of which the first one does; what they lack is not drawn. */
  readonly networks: Networks;
  /** The teacher that a student is distilled from. */
  readonly teacher?: Networks;
  /** One pair. */
  readonly pair: StereoBatch;
  /** How the networks are wired. */
  readonly wiring: Omit<ValidationWiring, "of">;
}

/**
 * One row: the seen view, the opposite one, the synthesised opposite view and the disparity; of a longer chain also
 * the re-synthesised input, the inconsistency (mean |input − re-synthesis|) and the refined disparity.
 */
export async function chainPanel({ networks, teacher, pair, wiring }: PanelInput): Promise<Picture> {
  const { view, border, refine, privileged } = wiring;
  const columns: Column[] = [];
  tf.tidy(() => {
    const add = (heading: string, values: Tensor4D, paint: Column[2]) => {
      columns.push([heading, tf.keep(values.clone()), paint]);
    };
    const shape: [number, number, number, number] = [1, pair.height, pair.width, 3];
    const source = tf.tensor4d(pair[view], shape), target = tf.tensor4d(pair[opposite(view)], shape);
    const pyramid = imagePyramid(source);
    const run = (chain: Networks) =>
      runChain(chain, pyramid, {
        view,
        border,
        refine,
        gates: CLOSED_GATES,
        privileged: privileged ? target : undefined,
      });
    const chain = run(teacher ?? networks);
    const student = teacher
      ? halfCycle(networks.student, pyramid, opposite(view), { border })
      : chain.student;
    add("input", source, rgb);
    add("opposite view", target, rgb);
    add("synthesised", student.synthesized[0], rgb);
    add("disparity", student.aligned[0].source, disparityRgb);
    if (chain.backward) {
      const back = chain.backward.synthesized[0];
      add("re-synthesis", back, rgb);
      add("inconsistency", tf.mean(tf.abs(tf.sub(source, back)), 3, true), differenceRgb);
    }
    if (chain.refined) add("refined disparity", chain.refined.aligned[0].source, disparityRgb);
  });
  const cells: GridCell[] = [];
  for (const [, values, paint] of columns) {
    cells.push({ image: await paint(values) });
    values.dispose();
  }
  const width = Math.max(128, pair.width);
  return grid([{ cells }], {
    headings: columns.map(([heading]) => heading),
    width: cells.length * (width + 8) + 16,
  });
}
