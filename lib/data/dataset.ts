/**
 * A data set opened: its root folder, the list of its stereo pairs, and what tells it from others.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists } from "../base/files.ts";
import { choice, number, type OptionsOf, resolveOptions, text } from "../base/options.ts";
import { CITYSCAPES_CROP_BOTTOM, cityscapesSplit, isCityscapes } from "./cityscapes.ts";
import { type DataIdentity, dataIdentity } from "./identity.ts";
import { eigenNames, eigenSplit } from "./kitti.ts";
import { checkPairs, type PairSide, readSplit, type StereoPair } from "./split.ts";

/** Which part of a data set. */
export type DataPart = "train" | "val" | "test";

/** Where the data lie and how they are split. */
export const datasetOptions = {
  data: text({
    default: "data/street",
    value: "DIR",
    help: "Root folder of the data, in the layout of KITTI raw or Cityscapes.",
  }),
  split: text({
    default: "street",
    value: "street|eigen|cityscapes|FILE",
    help: "How it is split: street (ROOT/splits), the Eigen split, Cityscapes' own, or a split file.",
  }),
  cropBottom: number({
    min: 0,
    max: 0.9,
    help: "Share of the height that Cityscapes' images lose at the bottom, the car's bonnet (default: 0.2).",
  }),
} as const;

/** Resolved {@linkcode datasetOptions}. */
export type DatasetOptions = OptionsOf<typeof datasetOptions>;

/** What {@linkcode openDataset} opens. */
export interface OpenDatasetOptions extends Partial<DatasetOptions> {
  /** Which part is opened. @default "train" */
  readonly part?: DataPart;
  /** Which images of a pair must be there; evaluation needs the seen view only. @default "both" */
  readonly side?: PairSide;
}

/** A list of stereo pairs that are there. */
export interface StereoDataset {
  /** The data's root folder. */
  readonly root: string;
  /** The split's name: "street", "eigen" or the split file's name without ".txt". */
  readonly name: string;
  /** Which part of the split. */
  readonly part: DataPart;
  /** Image paths relative to the root, in the split's order. */
  readonly pairs: readonly StereoPair[];
  /** Share of each image's height that is dropped at the bottom as it is read; 0 for all but Cityscapes. */
  readonly cropBottom: number;
  /** What tells these data from others. */
  readonly identity: DataIdentity;
}

const partOption = {
  part: choice(["train", "val", "test"], { default: "train", help: "Part of the data." }),
};

async function splitPairs(
  root: string,
  split: string,
  part: DataPart,
  side: PairSide,
): Promise<{ readonly name: string; readonly pairs: StereoPair[] }> {
  if (split === "eigen") return { name: split, pairs: eigenSplit(part) };
  if (Object.hasOwn(eigenNames, split)) {
    return { name: split, pairs: eigenSplit(eigenNames[split as keyof typeof eigenNames]) };
  }
  if (split === "cityscapes") return { name: split, pairs: await cityscapesSplit(root, part, side) };
  if (split === "street") {
    const path = join(root, "splits", `${part}.txt`);
    if (!await exists(path)) {
      throw new CyclopsError(
        `Cannot open the data in ${root}: no file splits/${part}.txt, wanted a street data set ` +
          `(deno task street --out ${root} makes one; for KITTI give --split eigen)`,
      );
    }
    return { name: split, pairs: await readSplit(path) };
  }
  const places = [split, join(root, "splits", split), join(root, "splits", `${split}.txt`)];
  for (const path of places) {
    if (await exists(path)) return { name: basename(split, ".txt"), pairs: await readSplit(path) };
  }
  throw new UsageError(
    `Cannot open the data in ${root}: split is "${split}", wanted street, eigen, cityscapes or a split file ` +
      `(looked for ${places.join(", ")})`,
  );
}

/**
 * Opens a data set: reads its split, checks that the images are there, and takes its fingerprint.
 *
 * - `street`: `ROOT/splits/{train,val,test}.txt`, as the street generator writes them;
 * - `eigen`: the Eigen split of KITTI raw (22,600 / 888 / 697 pairs); `eigen-train`, `eigen-val` or `eigen-test` is that
 *   part of it, whatever `part` says;
 * - `cityscapes`: Cityscapes' own, by its folders; images in its layout lose their bottom as they are read;
 * - a file of pairs, by its path or its name in `ROOT/splits`; it is one part, whatever `part` says.
 *
 * @throws {UsageError} When the split is unknown, or other images than Cityscapes' should be cropped.
 * @throws {CyclopsError} When the root, the split or images are missing (all counted, the first ones listed).
 *
 * @example
 * ```ts ignore
 * const train = await openDataset({ data: "data/street", part: "train" });
 * const test = await openDataset({ data: "/data/kitti", split: "eigen", part: "test", side: "left" });
 * ```
 */
export async function openDataset(options: OpenDatasetOptions = {}): Promise<StereoDataset> {
  const { side = "both", ...given } = options;
  const { data: root, split, part, cropBottom: wanted } = resolveOptions(
    "data",
    { ...datasetOptions, ...partOption },
    given,
  );
  if (!await exists(root)) {
    throw new CyclopsError(
      `Cannot open the data: no folder ${root} (give --data DIR, or make street data with deno task street)`,
    );
  }
  const { name, pairs: named } = await splitPairs(root, split, part, side);
  const pairs = await checkPairs(root, named, side);
  const cityscapes = pairs.every(({ left }) => isCityscapes(left));
  if (wanted && !cityscapes) {
    throw new UsageError(
      `Cannot open the data in ${root}: cropBottom is ${wanted}, but only Cityscapes' images show a bonnet; ` +
        `these are laid out as KITTI's, whose true depths count in the whole image`,
    );
  }
  const cropBottom = wanted ?? (cityscapes ? CITYSCAPES_CROP_BOTTOM : 0);
  const identity = await dataIdentity(root, name, part, pairs, side, cropBottom);
  return { root, name, part, pairs, cropBottom, identity };
}
