/** Made-up results for tests. */
import { Random } from "../../lib/base/random.ts";
import { ABLATION_ROWS, type Result } from "../../lib/evaluation/results.ts";

/** Abs rel that each row's seeds scatter around. */
const ABS_REL: Readonly<Record<string, number>> = {
  "train-set mean": 0.34,
  HC: 0.15,
  T: 0.132,
  S: 0.136,
  P: 0.128,
};

/** One result; its metrics follow from abs rel. */
export function result(changes: Partial<Result> & { readonly absRel?: number } = {}): Result {
  const { absRel = 0.15, ...rest } = changes;
  return {
    row: "HC",
    seed: 1,
    flip: false,
    dataset: "street",
    split: "street",
    part: "test",
    truth: "lidar",
    crop: "garg",
    architecture: "quick",
    size: "64x192",
    capM: 80,
    metrics: {
      absRel,
      sqRel: 7 * absRel,
      rmse: 40 * absRel,
      rmseLog: 1.5 * absRel,
      a1: 0.8,
      a2: 0.92,
      a3: 0.97,
    },
    ...rest,
  };
}

/** A whole ablation of three seeds; the rows in `without` are left out. */
export function ablation(changes: Partial<Result> = {}, without: readonly string[] = []): Result[] {
  const random = new Random(3);
  return ABLATION_ROWS.flatMap(({ name }) => {
    const trained = name !== "train-set mean";
    return (trained ? [1, 2, 3] : [0]).flatMap((seed) =>
      [false, true].flatMap((flip) =>
        [80, 50].map((capM) =>
          result({
            row: name,
            seed,
            flip,
            capM,
            absRel: (ABS_REL[name] ?? 0.14) * (flip ? 0.96 : 1) * (capM === 50 ? 0.95 : 1) *
              (trained ? 1 + random.normal(0, 0.01) : 1),
            parameters: trained ? 767_000 : 0,
            gigaflops: trained ? (flip ? 1.2 : 0.6) : 0,
            msPerImage: trained ? (flip ? 10.4 : 5.2) : 0,
            updates: trained ? 2400 : 0,
            run: `runs/${name}-${seed}`,
            ...changes,
          })
        )
      )
    );
  }).filter(({ row }) => !without.includes(row));
}
