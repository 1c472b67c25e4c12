/**
 * Which loss term moves which network.
 *
 * @module
 */
import { type Scalar, tf, type Variable } from "../backend/tf.ts";
import { opposite } from "../geometry/warp.ts";
import { type GradientGates, type Networks, runChain } from "../models/chain.ts";
import { lossTerms, type LossWeights, TERM_NAMES, type TermName, viewPyramids } from "../losses/objective.ts";
import { refineOptions } from "../training/options.ts";
import type { Pair } from "./matching.ts";
import { imageTensor } from "./tensors.ts";
import type { LessonModel } from "./training.ts";

/** A loss term and how hard it pulls at each network's weights. */
export interface TermGradient {
  /** The term. */
  readonly term: TermName;
  /** Its value, before weighting. */
  readonly value: number;
  /** Length of its gradient with respect to each network's weights; 0: it moves nothing there. */
  readonly norms: Readonly<Partial<Record<keyof Networks, number>>>;
}

const NONE = Object.fromEntries(TERM_NAMES.map((name) => [name, 0])) as LossWeights;

/**
 * Takes the gradient of each loss term by itself, with respect to the weights of all networks of a model. Terms of
 * networks that the model lacks are left out, and so is distillation.
 *
 * @param pair At the model's size.
 * @param gates How far gradients reach back through the chain.
 */
export function termGradients(model: LessonModel, pair: Pair, gates: GradientGates): TermGradient[] {
  const { networks, options } = model;
  const { view, border, ssimWeight, photometricViews } = options;
  const names = (["student", "backward", "refine"] as const).filter((name) => networks[name]);
  const variables = names.map((name) => [...networks[name]!.variables.values()]);
  const terms = TERM_NAMES.filter((name) =>
    !name.toLowerCase().includes("distillation") &&
    (networks.backward || !name.startsWith("cycle")) && (networks.refine || !name.startsWith("refined"))
  );
  return tf.tidy(() => {
    const views = { left: imageTensor(pair.left), right: imageTensor(pair.right) };
    const pyramids = viewPyramids(views[view], views[opposite(view)]);
    return terms.map((term) =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(() => {
          const chain = runChain(networks, pyramids.source, {
            view,
            border,
            refine: refineOptions(options),
            gates,
          });
          const weights = { ...NONE, [term]: 1 };
          return lossTerms(chain, pyramids, weights, {
            view,
            border,
            ssimWeight,
            photometricViews,
          })[term] as Scalar;
        }, variables.flat());
        const norm = (own: readonly Variable[]) =>
          Math.sqrt(own.reduce((sum, { name }) => {
            const grad = grads[name];
            return grad ? sum + tf.sum(tf.square(grad)).dataSync()[0] : sum;
          }, 0));
        const norms = Object.fromEntries(names.map((name, i) => [name, norm(variables[i])]));
        return { term, value: value.dataSync()[0], norms };
      })
    );
  });
}
