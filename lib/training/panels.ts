/**
 * What a chain of networks sees and makes of it, side by side.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import { disparityToRgb, type FloatMap, mapToRgb } from "../charts/colormap.ts";
import { grid, type GridCell } from "../charts/grid.ts";
import type { Picture } from "../charts/picture.ts";
import type { StereoBatch } from "../data/batch_maker.ts";
import type { RgbImage } from "../data/image.ts";
import { opposite } from "../geometry/warp.ts";
import {
  CLOSED_GATES,
  halfCycle,
  imagePyramid,
  type Networks,
  runChain,
  type Synthesis,
} from "../models/chain.ts";
import type { ValidationWiring } from "./validation.ts";

/** Difference of two images that is drawn brightest. */
const STRONG_DIFFERENCE = 0.3;

function rgb(image: Tensor4D): RgbImage {
  const [, height, width] = image.shape;
  const values = image.dataSync();
  return {
    width,
    height,
    data: Uint8Array.from(values, (v) => Math.round(255 * Math.min(1, Math.max(0, v)))),
  };
}

function map(values: Tensor4D): FloatMap {
  const [, height, width] = values.shape;
  return { width, height, data: values.dataSync().slice() as Float32Array };
}

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
export function chainPanel({ networks, teacher, pair, wiring }: PanelInput): Picture {
  const { view, border, refine, privileged } = wiring;
  const headings: string[] = [];
  const cells: GridCell[] = [];
  const add = (heading: string, image: RgbImage) => {
    headings.push(heading);
    cells.push({ image });
  };
  tf.tidy(() => {
    const shape: [number, number, number, number] = [1, pair.height, pair.width, 3];
    const source = tf.tensor4d(pair[view], shape), target = tf.tensor4d(pair[opposite(view)], shape);
    const pyramid = imagePyramid(source);
    const disparityOf = ({ aligned }: Synthesis) => disparityToRgb(map(aligned[0].source));
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
    add("input", rgb(source));
    add("opposite view", rgb(target));
    add("synthesised", rgb(student.synthesised[0]));
    add("disparity", disparityOf(student));
    if (chain.backward) {
      const back = chain.backward.synthesised[0];
      add("re-synthesis", rgb(back));
      const difference = map(tf.mean(tf.abs(tf.sub(source, back)), 3, true) as Tensor4D);
      add("inconsistency", mapToRgb(difference, { min: 0, max: STRONG_DIFFERENCE, map: "magma" }));
    }
    if (chain.refined) add("refined disparity", disparityOf(chain.refined));
  });
  const width = Math.max(128, pair.width);
  return grid([{ cells }], { headings, width: cells.length * (width + 8) + 16 });
}
