/**
 * A data set: its root folder, the list of its stereo pairs, and what distinguishes it from others.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists, fileError, fillFrom } from "../base/files.ts";
import { choice, number, type OptionsOf, resolveOptions, text } from "../base/options.ts";
import { CITYSCAPES_CROP_BOTTOM, cityscapesSplit, isCityscapes } from "./cityscapes.ts";
import { eigenNames, eigenSplit } from "./kitti.ts";
import { checkPairs, formatSplit, type PairSide, readSplit, type StereoPair } from "./split.ts";

/** Which part of a data set. */
export type DataPart = "train" | "val" | "test";

/** Where the data are and how they are split. */
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
    help:
      "Fraction of the height cut off at the bottom of Cityscapes' images, the car's hood (default: 0.2).",
  }),
} as const;

/** Resolved {@linkcode datasetOptions}. */
export type DatasetOptions = OptionsOf<typeof datasetOptions>;

/** What {@linkcode openDataset} opens. */
export interface OpenDatasetOptions extends Partial<DatasetOptions> {
  /** Which part to open. @default "train" */
  readonly part?: DataPart;
  /** Which images of a pair must exist; evaluation needs the input view only. @default "both" */
  readonly side?: PairSide;
}

/** Stereo pairs whose images exist. */
export interface StereoDataset {
  /** The data's root folder. */
  readonly root: string;
  /** The split's name: "street", "eigen" or the split file's name without ".txt". */
  readonly name: string;
  /** Which part of the split. */
  readonly part: DataPart;
  /** Image paths relative to the root, in the split's order. */
  readonly pairs: readonly StereoPair[];
  /** Fraction of each image's height that is cut off at the bottom when it is read; 0 for all but Cityscapes. */
  readonly cropBottom: number;
  /** What distinguishes these data from others. */
  readonly identity: DataIdentity;
}

/**
 * What distinguishes one data set from another; the folder's own name is no part of it. Saved with each checkpoint, so
 * that a resumed run notices other data under the same name.
 */
export interface DataIdentity {
  /** The split's name, e.g. "street". */
  readonly split: string;
  /** "train", "val" or "test". */
  readonly part: string;
  /** How many stereo pairs. */
  readonly pairs: number;
  /** Hash of the list of pairs, in order: 16 hexadecimal digits. */
  readonly names: string;
  /** Hash of the sizes and beginnings of a few images spread over the list: 16 hexadecimal digits. */
  readonly content: string;
}

/** Images, and bytes of each, that {@linkcode identify} reads: quick even for KITTI's 22,600 pairs. */
const PROBES = 16, PROBE_BYTES = 65536;

async function identify(dataset: Omit<StereoDataset, "identity">, side: PairSide): Promise<DataIdentity> {
  const { root, name: split, part, pairs, cropBottom } = dataset;
  const hash = () => createHash("sha256");
  const content = hash(), head = new Uint8Array(PROBE_BYTES), probes = Math.min(PROBES, pairs.length);
  // The crop decides which pixels of the same files are seen.
  if (cropBottom > 0) content.update(`crop ${cropBottom}:`);
  for (let i = 0; i < probes; i++) {
    const pair = pairs[Math.floor(i * pairs.length / probes)];
    const path = join(root, side === "right" ? pair.right : pair.left);
    try {
      using file = await Deno.open(path);
      const length = await fillFrom(file, head);
      content.update(`${(await file.stat()).size}:`).update(head.subarray(0, length));
    } catch (error) {
      throw fileError("read the image", path, error);
    }
  }
  return {
    split,
    part,
    pairs: pairs.length,
    names: hash().update(formatSplit(pairs)).digest("hex").slice(0, 16),
    content: content.digest("hex").slice(0, 16),
  };
}

/**
 * How two identities differ, in words; empty when they are of the same data.
 *
 * @param saved As kept with a checkpoint.
 * @param found Of the data at hand.
 */
export function identityDifferences(saved: DataIdentity, found: DataIdentity): string[] {
  const differences: string[] = [];
  if (saved.split !== found.split || saved.part !== found.part) {
    differences.push(`split ${saved.split}/${saved.part} then, ${found.split}/${found.part} now`);
  }
  if (saved.pairs !== found.pairs) differences.push(`${saved.pairs} pairs then, ${found.pairs} now`);
  else if (saved.names !== found.names) differences.push("other image names or another order");
  if (saved.content !== found.content && differences.length === 0) {
    differences.push("the same names but other images in them, or another crop");
  }
  return differences;
}

/** An error about a root without ROOT/splits, which says what would be accepted and what it looks like. */
async function unknownLayout(root: string, part: DataPart): Promise<CyclopsError> {
  const names = new Set((await Array.fromAsync(Deno.readDir(root))).map(({ name }) => name));
  let hint = "";
  if (names.has("left") && names.has("right")) {
    hint = "For the folders left and right, write a split file with lines such as\n" +
      "  left/000001.png right/000001.png\nand pass it with --split FILE";
  }
  if ([...names].some((name) => /^\d{4}_\d\d_\d\d$/.test(name))) {
    hint = "This looks like KITTI: --split eigen";
  }
  if (names.has("leftImg8bit")) hint = "This looks like Cityscapes: --split cityscapes";
  return new CyclopsError(
    `Cannot open the data in ${root}: no file splits/${part}.txt, expected one of\n` +
      "  --split street      ROOT/splits/train.txt, val.txt and test.txt, as deno task street writes them\n" +
      "  --split eigen       KITTI raw: ROOT/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/…\n" +
      "  --split cityscapes  ROOT/leftImg8bit/train/CITY/… and ROOT/rightImg8bit/train/CITY/…\n" +
      "  --split FILE        any folders: lines of LEFT RIGHT, image paths relative to ROOT" +
      (hint && `\n${hint}`),
  );
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
  if (Object.hasOwn(eigenNames, split)) return { name: split, pairs: eigenSplit(eigenNames[split]) };
  if (split === "cityscapes") return { name: split, pairs: await cityscapesSplit(root, part, side) };
  if (split === "street") {
    const path = join(root, "splits", `${part}.txt`);
    if (!await exists(path)) throw await unknownLayout(root, part);
    return { name: split, pairs: await readSplit(path) };
  }
  const own = [join(root, "splits", split), join(root, "splits", `${split}.txt`)];
  // A bare word is a name in ROOT/splits first: a folder of that name may lie in the current directory.
  const places = /^[\w-]+$/.test(split) ? [...own, split] : [split, ...own];
  for (const path of places) {
    if (await exists(path)) return { name: basename(split, ".txt"), pairs: await readSplit(path) };
  }
  throw new UsageError(
    `Cannot find the split "${split}" of ${root}: expected street, eigen, cityscapes, ` +
      `${Object.keys(eigenNames).join(", ")} or a split file (looked for ${places.join(", ")})`,
  );
}

/**
 * Opens a data set: reads its split, checks that the images exist, and computes its identity.
 *
 * - `street`: `ROOT/splits/{train,val,test}.txt`, as the street generator writes them;
 * - `eigen`: the Eigen split of KITTI raw (22,600 / 888 / 697 pairs); `eigen-train`, `eigen-val` or `eigen-test` is that
 *   part of it, whatever `part` says;
 * - `cityscapes`: Cityscapes' own, by its folders; its images are cropped at the bottom as they are read;
 * - a file of pairs, by its path or its name in `ROOT/splits`; it is one part, whatever `part` says.
 *
 * @throws {UsageError} When the split is unknown, or images other than Cityscapes' were to be cropped.
 * @throws {CyclopsError} When the root, the split or images are missing (all counted, the first ones listed).
 *
 * @example
 * ```ts ignore
 * const train = await openDataset({ data: "data/street", part: "train" });
 * const test = await openDataset({ data: "/data/kitti", split: "eigen", part: "test", side: "left" });
 * ```
 */
export async function openDataset(options: OpenDatasetOptions = {}): Promise<StereoDataset> {
  const { side = "both", ...rest } = options;
  const specs = { ...datasetOptions, ...partOption };
  const { data: root, split, part, cropBottom: crop } = resolveOptions("data", specs, rest);
  if (!await exists(root)) {
    throw new CyclopsError(
      `Cannot open the data: no folder ${root} (give --data DIR, or make street data with deno task street)`,
    );
  }
  const { name, pairs: named } = await splitPairs(root, split, part, side);
  const pairs = await checkPairs(root, named, side);
  const cityscapes = pairs.every(({ left }) => isCityscapes(left));
  if (crop && !cityscapes) {
    throw new UsageError(
      `Cannot open the data in ${root}: cropBottom is ${crop}, but only Cityscapes' images show the car's hood; ` +
        `these are laid out as KITTI's, whose true depths count in the whole image`,
    );
  }
  const cropBottom = crop ?? (cityscapes ? CITYSCAPES_CROP_BOTTOM : 0);
  const dataset = { root, name, part, pairs, cropBottom };
  return { ...dataset, identity: await identify(dataset, side) };
}
