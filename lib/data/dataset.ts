/**
 * A data set: the list of its stereo pairs from one or more sources, and what distinguishes it from others.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { exists, fileError, fillFrom, readJson } from "../base/files.ts";
import { choice, number, type OptionsOf, resolveOptions, text } from "../base/options.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import {
  CITYSCAPES_CROP_BOTTOM,
  cityscapesCameraPath,
  cityscapesSplit,
  isCityscapes,
  readCityscapesCamera,
} from "./cityscapes.ts";
import { fileOf } from "./image.ts";
import { calibrationPaths, eigenNames, eigenSplit, readKittiCamera, stereo2015Split } from "./kitti.ts";
import { isManifest, manifestPairs } from "./manifest.ts";
import { checkPairs, formatSplit, type PairSide, readSplit, type StereoPair } from "./split.ts";

/** Which part of a data set. */
export type DataPart = "train" | "val" | "test";

/** Where the data are and how they are split. */
export const datasetOptions = {
  data: text({
    default: "data/street",
    value: "DIR[,FILE…]",
    help:
      "Folder in the layout of KITTI raw or Cityscapes, or a manifest (.csv, .jsonl). Several train together, " +
      "the first validates; DIR:3 visits each of its pairs three times an epoch.",
  }),
  split: text({
    default: "street",
    value: "street|eigen|cityscapes|FILE",
    help: "How it is split: street (ROOT/splits), the Eigen split, Cityscapes' own, or a split file.",
  }),
  holdout: number({
    default: 0.1,
    min: 0,
    max: 1,
    help: "Fraction of a manifest without a split column that is held out from training, to validate.",
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
  readonly part?: DataPart;
  /** Which images of a pair must exist; evaluation needs the input view only. @default "both" */
  readonly side?: PairSide;
}

/** Stereo pairs whose images exist. */
export interface StereoDataset {
  /** The root folder, of the first source. */
  readonly root: string;
  /** The split's name: "street", "eigen", "manifest" or the split file's name without ".txt"; of several, "a+b". */
  readonly name: string;
  /** Which part of the split. */
  readonly part: DataPart;
  /** In the split's order; paths are relative to the pair's own root or else to the data set's. */
  readonly pairs: readonly StereoPair[];
  /** Fraction of the height cut off at the bottom as images are read, where a pair names no other. */
  readonly cropBottom: number;
  /** What distinguishes these data from others. */
  readonly identity: DataIdentity;
}

/**
 * What distinguishes one data set from another, its folder's name aside. Saved with each checkpoint, so that a resumed
 * run notices other data under the same name.
 */
export interface DataIdentity {
  readonly split: string;
  readonly part: string;
  readonly pairs: number;
  /** Hash of the list of pairs, in order: 16 hexadecimal digits. */
  readonly names: string;
  /** Hash of the sizes and beginnings of a few images spread over the list: 16 hexadecimal digits. */
  readonly content: string;
}

/** The path of one image of a pair. */
export function imagePath(
  { root }: Pick<StereoDataset, "root">,
  pair: StereoPair,
  side: "left" | "right",
): string {
  return join(pair.root ?? root, pair.packed?.[side] ?? pair[side]);
}

/** The file prepared.json of a folder that `deno task kitti prepare` made; see prepare.ts. */
export interface PreparedIndex {
  readonly format: "cyclops-prepared";
  readonly version: 1;
  /** The split that the pairs were taken from. */
  readonly split: string;
  /** `HEIGHTxWIDTH` of the images, px. */
  readonly size: string;
  readonly cameras: readonly StereoCamera[];
  readonly parts: Readonly<Partial<Record<DataPart, readonly PreparedPair[]>>>;
}

/** Left and right image, index of the camera (−1: not known), pack, index of the left image in it, offset of the points (−1: none). */
export type PreparedPair = readonly [
  left: string,
  right: string,
  camera: number,
  pack: string,
  image: number,
  offset: number,
];

/** The name of the index, and of the laser points that belong to a pack. */
export const PREPARED = "prepared.json";
export const pointsOf = (pack: string) => pack.replace(/\.pack$/, ".points");

async function openPrepared(root: string, split: string, part: DataPart): Promise<Source> {
  const path = join(root, PREPARED), index = await readJson(path) as PreparedIndex;
  const fail = (why: string) => new CyclopsError(`Cannot open the prepared data in ${root}: ${why}`);
  if (index?.format !== "cyclops-prepared" || index.version !== 1) {
    throw fail(`${path} is of another version`);
  }
  const pairs = (index.parts[splitPart(split) ?? part] ?? []).map((pair): StereoPair => {
    const [left, right, camera, pack, image, offset] = pair;
    return {
      left,
      right,
      camera: index.cameras[camera],
      packed: {
        left: `${pack}#${image}`,
        right: `${pack}#${image + 1}`,
        points: offset < 0 ? undefined : { path: pointsOf(pack), offset },
      },
    };
  });
  if (pairs.length === 0) throw fail(`it has no ${splitPart(split) ?? part} part`);
  return { root, name: index.split, pairs: inOrder(pairs, split), cropBottom: 0, names: formatSplit(pairs) };
}

/** The part that a part of the Eigen split belongs to. */
function splitPart(split: string): DataPart | undefined {
  const part = Object.hasOwn(eigenNames, split) ? eigenNames[split] : undefined;
  return part === "files" || part === "benchmark" ? "test" : part;
}

/** Pairs in the order of the field's lists, where one of those is asked for. */
function inOrder(pairs: readonly StereoPair[], split: string): readonly StereoPair[] {
  const part = Object.hasOwn(eigenNames, split) ? eigenNames[split] : undefined;
  if (part !== "files" && part !== "benchmark") return pairs;
  const stem = (path: string) => path.replace(/\.\w+$/, "");
  const found = new Map(pairs.map((pair) => [stem(pair.left), pair]));
  return eigenSplit(part).flatMap(({ left }) => found.get(stem(left)) ?? []);
}

/** One source of pairs. */
type Source = Omit<StereoDataset, "part" | "identity"> & {
  /** What the identity hashes of its list of pairs. */
  readonly names: string;
};

/** Images, and bytes of each, that {@linkcode identify} reads: quick even for KITTI's 22,600 pairs. */
const PROBES = 16, PROBE_BYTES = 65536;

async function identify(
  dataset: Omit<StereoDataset, "identity">,
  names: string,
  side: PairSide,
): Promise<DataIdentity> {
  const { name: split, part, pairs, cropBottom } = dataset;
  const hash = () => createHash("sha256");
  const content = hash(), head = new Uint8Array(PROBE_BYTES);
  const probes = side === "none" ? 0 : Math.min(PROBES, pairs.length);
  // The crop decides which pixels of the same files are seen.
  if (cropBottom > 0) content.update(`crop ${cropBottom}:`);
  for (let i = 0; i < probes; i++) {
    const path = imagePath(
      dataset,
      pairs[Math.floor(i * pairs.length / probes)],
      side === "right" ? "right" : "left",
    );
    try {
      using file = await Deno.open(fileOf(path));
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
    names: hash().update(names).digest("hex").slice(0, 16),
    content: content.digest("hex").slice(0, 16),
  };
}

/**
 * How two identities differ, in words; empty when they are of the same data.
 *
 * @param saved As kept with a checkpoint.
 * @param found Of the data just opened.
 */
export function identityDifferences(saved: DataIdentity, found: DataIdentity): string[] {
  const differences: string[] = [];
  if (saved.split !== found.split || saved.part !== found.part) {
    differences.push(`split ${saved.split}/${saved.part} then, ${found.split}/${found.part} now`);
  }
  if (saved.pairs !== found.pairs) differences.push(`${saved.pairs} pairs then, ${found.pairs} now`);
  else if (saved.names !== found.names) differences.push("other image names or cameras, or another order");
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
    hint =
      "For the folders left and right, write a manifest such as pairs.csv and pass it with --data pairs.csv:\n" +
      "  left,right,focal_px,baseline_m\n  left/000001.png,right/000001.png,721.5,0.54";
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
      "  --split FILE        any folders: lines of LEFT RIGHT, image paths relative to ROOT\n" +
      "  --data FILE.csv     any folders and cameras: a manifest, columns left,right,focal_px,baseline_m" +
      (hint && `\n${hint}`),
  );
}

const partOption = {
  part: choice(["train", "val", "test"], { default: "train", help: "Part of the data." }),
};

/** The pairs that a split of a folder names, whether their images exist or not. */
export async function splitPairs(
  root: string,
  split: string,
  part: DataPart,
  side: PairSide,
): Promise<{ readonly name: string; readonly pairs: StereoPair[] }> {
  if (split === "eigen") return { name: split, pairs: eigenSplit(part) };
  if (Object.hasOwn(eigenNames, split)) return { name: split, pairs: eigenSplit(eigenNames[split]) };
  if (split === "cityscapes") return { name: split, pairs: await cityscapesSplit(root, part, side) };
  if (split === "stereo2015") return { name: split, pairs: await stereo2015Split(root) };
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
    `Cannot find the split "${split}" of ${root}: expected street, eigen, cityscapes, stereo2015, ` +
      `${Object.keys(eigenNames).join(", ")} or a split file (looked for ${places.join(", ")})`,
  );
}

/** The pairs with their cameras, as far as the data have calibrations. */
export async function withCameras(
  root: string,
  pairs: StereoPair[],
  cropBottom: number,
): Promise<StereoPair[]> {
  const cameras = new Map<string, StereoCamera | undefined>();
  const read = async (left: string): Promise<StereoCamera | undefined> => {
    if (isCityscapes(left)) {
      if (!await exists(join(root, cityscapesCameraPath(left)))) return undefined;
      return await readCityscapesCamera(root, left, cropBottom);
    }
    const [date] = left.split("/");
    if (!await exists(join(root, calibrationPaths(date).camToCam))) return undefined;
    const { imageSize, focalPx, centerPx, baselineM } = await readKittiCamera(root, date);
    return { imageSize, focalPx, centerPx, baselineM };
  };
  const found: StereoPair[] = [];
  for (const pair of pairs) {
    // KITTI has one calibration per date; Cityscapes has a file per frame, the same within a city.
    const key = isCityscapes(pair.left) ? dirname(pair.left) : pair.left.split("/")[0];
    if (!cameras.has(key)) cameras.set(key, await read(pair.left));
    const camera = cameras.get(key);
    found.push(camera ? { ...pair, camera } : pair);
  }
  return found;
}

/** `DIR:3`: a path and how many times an epoch visits its pairs. */
async function parseSources(data: string): Promise<{ readonly path: string; readonly visits: number }[]> {
  if (await exists(data)) return [{ path: data, visits: 1 }]; // its name may hold a comma
  return data.split(",").map((item) => {
    const [, path, visits] = item.trim().match(/^(.*?)(?::(\d{1,4}))?$/)!;
    if (path === "" || visits === "0") {
      throw new UsageError(
        `Cannot open the data "${data}": expected DIR or FILE, or several separated by commas, each with :N at most`,
      );
    }
    return { path, visits: Number(visits ?? 1) };
  });
}

async function openSource(
  path: string,
  { part, split, holdout, cropBottom: crop }: DatasetOptions & { readonly part: DataPart },
  side: PairSide,
): Promise<Source> {
  if (!await exists(path)) {
    const kind = isManifest(path) ? "file" : "folder";
    throw new CyclopsError(
      `Cannot open the data: no ${kind} ${path} (give --data DIR, or make street data with deno task street)`,
    );
  }
  if (isManifest(path)) {
    const root = dirname(path), only = ["train", "val", "test"].includes(split) ? split as DataPart : part;
    // Its images say how large they are.
    const pairs = await manifestPairs(path, only, holdout, side === "none" ? "left" : side);
    const names = pairs.map((pair) =>
      `${pair.left} ${pair.right} ${pair.camera!.focalPx} ${pair.camera!.baselineM}\n`
    );
    return { root, name: "manifest", pairs, cropBottom: 0, names: names.join("") };
  }
  if (await exists(join(path, PREPARED))) return await openPrepared(path, split, part);
  const { name, pairs: named } = await splitPairs(path, split, part, side);
  const pairs = await checkPairs(path, named, side);
  const cropBottom = crop ?? (pairs.every(({ left }) => isCityscapes(left)) ? CITYSCAPES_CROP_BOTTOM : 0);
  if (cropBottom && !pairs.every(({ left }) => isCityscapes(left))) {
    throw new UsageError(
      `Cannot open the data in ${path}: cropBottom is ${crop}, but only Cityscapes' images show the car's hood; ` +
        `these are laid out as KITTI's, whose true depths count in the whole image`,
    );
  }
  const names = formatSplit(pairs);
  return { root: path, name, pairs: await withCameras(path, pairs, cropBottom), cropBottom, names };
}

/**
 * Opens a data set: reads its split, checks that the images exist, and computes its identity.
 *
 * `data` is a folder, which `split` divides:
 *
 * - `street`: `ROOT/splits/{train,val,test}.txt`, as the street generator writes them;
 * - `eigen`: the Eigen split of KITTI raw (22,600 / 888 / 697 pairs); `eigen-train`, `eigen-val`, `eigen-test` or, of the
 *   last, `eigen-files` and `eigen-benchmark` (see `eigenSplit`) is that part of it, whatever `part` says;
 * - `cityscapes`: Cityscapes' own, by its folders; its images are cropped at the bottom as they are read;
 * - `stereo2015`: the 200 training pairs of KITTI stereo 2015, with their disparities;
 * - a file of pairs, by its path or its name in `ROOT/splits`; it is one part, whatever `part` says.
 *
 * Or it is a folder of data that were prepared (lib/data/prepare.ts), which has parts of its own, or a manifest
 * (lib/data/manifest.ts), which is divided by its own column or by `holdout`. Several sources are
 * separated by commas; their training parts follow each other, validation and test come from the first alone.
 *
 * @throws {UsageError} When the split is unknown, or images other than Cityscapes' were to be cropped.
 * @throws {CyclopsError} When the root, the split or images are missing (all counted, the first ones listed).
 *
 * @example
 * ```ts ignore
 * const train = await openDataset({ data: "data/street", part: "train" });
 * const test = await openDataset({ data: "/data/kitti", split: "eigen", part: "test", side: "left" });
 * const both = await openDataset({ data: "/data/kitti,my_camera/pairs.csv:2", split: "eigen" });
 * ```
 */
export async function openDataset(options: OpenDatasetOptions = {}): Promise<StereoDataset> {
  const { side = "both", ...rest } = options;
  const resolved = resolveOptions("data", { ...datasetOptions, ...partOption }, rest), { part } = resolved;
  const places = await parseSources(resolved.data);
  const sources: Source[] = [];
  for (const { path, visits } of part === "train" ? places : places.slice(0, 1)) {
    const source = await openSource(path, resolved, side);
    sources.push(...Array<Source>(part === "train" ? visits : 1).fill(source));
  }
  const [{ root, cropBottom }] = sources;
  const pairs = sources.flatMap((source) =>
    source.root === root && source.cropBottom === cropBottom
      ? source.pairs
      : source.pairs.map((pair) => ({ ...pair, root: source.root, cropBottom: source.cropBottom }))
  );
  const name = [...new Set(sources)].map((source) => source.name).join("+");
  const dataset = { root, name, part, pairs, cropBottom };
  const names = sources.map((source) => source.names).join("");
  return { ...dataset, identity: await identify(dataset, names, side) };
}
