/**
 * Manifests: one file that lists stereo pairs of any camera, as CSV with a header line or as JSON lines.
 *
 *     left,right,focal_px,baseline_m,disparity,split
 *     left/0001.jpg,right/0001.jpg,721.5,0.54,disparity/0001.png,train
 *
 * `left`, `right`: rectified images; gray ones count as color. `focal_px`: focal length in px of the stored image.
 * `baseline_m`: distance between the cameras, m. `disparity` (optional): 16-bit PNG of the left image's disparities,
 * px · 256, 0 = unknown; or `depth`: 16-bit PNG, m · 256, 0 = unknown. `split` (optional): train, val or test. Paths are
 * relative to the manifest's folder; other columns are ignored.
 *
 * @module
 */
import { dirname, isAbsolute, join, relative, resolve } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { readText } from "../base/files.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import { type FloatMap, imageSize, readGray16 } from "./image.ts";
import { checkPairs, type PairSide, type StereoPair } from "./split.ts";

/** A row, checked. */
export interface ManifestRow {
  readonly left: string;
  readonly right: string;
  readonly focalPx: number;
  readonly baselineM: number;
  readonly truth?: StereoPair["truth"];
  readonly part?: "train" | "val" | "test";
}

const REQUIRED = ["left", "right", "focal_px", "baseline_m"] as const;

/** Whether a path names a manifest, by its extension. */
export function isManifest(path: string): boolean {
  return /\.(csv|jsonl|ndjson)$/i.test(path);
}

/** The cells of a CSV line; double quotes may surround a cell, doubled ones stand for one. */
function csvCells(line: string): string[] {
  const cells = [""];
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '"' && quoted && line[i + 1] === '"') cells[cells.length - 1] += line[i++];
    else if (line[i] === '"') quoted = !quoted;
    else if (line[i] === "," && !quoted) cells.push("");
    else cells[cells.length - 1] += line[i];
  }
  return cells.map((cell) => cell.trim());
}

/** The rows as strings by column, with their line numbers. */
function tableOf(
  text: string,
  path: string,
): (readonly [line: number, row: Readonly<Record<string, string>>])[] {
  const fail = (why: string) => new CyclopsError(`Cannot read the manifest ${path}: ${why}`);
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/).map((line, i) => [i + 1, line.trim()] as const)
    .filter(([, line]) => line !== "" && !line.startsWith("#"));
  if (lines[0]?.[1].startsWith("{")) {
    return lines.map(([number, line]) => {
      try {
        const row = Object.entries(JSON.parse(line)).filter(([, value]) => value !== null);
        return [number, Object.fromEntries(row.map(([key, value]) => [key, String(value)]))];
      } catch (error) {
        throw fail(`line ${number} is not a JSON object (${messageOf(error)})`);
      }
    });
  }
  const [header, ...rows] = lines.map(([number, line]) => [number, csvCells(line)] as const);
  const columns = header?.[1].map((name) => name.toLowerCase()) ?? [];
  const missing = REQUIRED.filter((name) => !columns.includes(name));
  if (missing.length) {
    throw fail(
      `its first line has no column ${missing.join(", ")} (found ${
        columns.join(", ").slice(0, 200) || "nothing"
      }), ` +
        `expected ${REQUIRED.join(",")}[,disparity|depth][,split]`,
    );
  }
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) throw fail(`its first line names the column ${twice} twice`);
  return rows.map(([number, cells]) => {
    if (cells.length !== columns.length) {
      throw fail(`line ${number} has ${cells.length} cells, expected ${columns.length}`);
    }
    return [number, Object.fromEntries(columns.map((name, i) => [name, cells[i]]))];
  });
}

/**
 * Parses a manifest.
 *
 * @param path The file's name, for errors.
 * @throws {CyclopsError} When a column is missing, or a row is wrong: lists them with their line numbers.
 */
export function parseManifest(text: string, path: string): ManifestRow[] {
  const bad: string[] = [];
  const rows = tableOf(text, path).map(([line, row]): ManifestRow => {
    const wrong = (what: string) => bad.push(`  line ${line}: ${what}`);
    const positive = (key: string) => {
      const value = Number(row[key] || NaN);
      if (!(value > 0 && value < Infinity)) wrong(`${key} is "${row[key] ?? ""}", expected a number above 0`);
      return value;
    };
    for (const key of ["left", "right"] as const) {
      if (!row[key]) wrong(`${key} is empty, expected an image path`);
    }
    const { left = "", right = "", disparity, depth, split } = row;
    if (disparity && depth) wrong("it has both disparity and depth, expected at most one");
    const part = split?.toLowerCase() || undefined;
    if (part !== undefined && part !== "train" && part !== "val" && part !== "test") {
      wrong(`split is "${split}", expected train, val or test`);
    }
    const truth = disparity
      ? { kind: "disparity", path: disparity } as const
      : depth
      ? { kind: "depth", path: depth } as const
      : undefined;
    const [focalPx, baselineM] = [positive("focal_px"), positive("baseline_m")];
    return { left, right, focalPx, baselineM, truth, part: part as ManifestRow["part"] };
  });
  if (rows.length === 0) bad.push("  it has no row");
  if (bad.length) {
    const more = bad.length > 20 ? [`  … and ${bad.length - 20} more`] : [];
    throw new CyclopsError(`Cannot read the manifest ${path}:\n${[...bad.slice(0, 20), ...more].join("\n")}`);
  }
  return rows;
}

/** Stretches of neighboring rows that a holdout is made of: enough to see every drive, few enough to keep videos apart. */
const HOLDOUT_BLOCKS = 5;

/**
 * The rows held out where no row has a split: the ends of equal stretches of the list, because neighboring rows are
 * often neighboring frames. At least one row is held out and one left, unless the fraction is 0 or 1.
 */
function heldOut(count: number, holdout: number): ReadonlySet<number> {
  const least = holdout > 0 ? 1 : 0, most = holdout < 1 ? count - 1 : count;
  const held = Math.max(least, Math.min(most, Math.round(count * holdout)));
  const blocks = Math.min(HOLDOUT_BLOCKS, held), indices = new Set<number>();
  for (let block = 1; block <= blocks; block++) {
    const end = Math.floor(block * count / blocks);
    const size = Math.floor(block * held / blocks) - Math.floor((block - 1) * held / blocks);
    for (let i = end - size; i < end; i++) indices.add(i);
  }
  return indices;
}

/**
 * The pairs of a part of a manifest. Without a split column, `val` and `test` are the held-out rows, `train` the others.
 *
 * @param holdout Fraction of the rows held out where there is no split column: 1 evaluates them all.
 * @param side Which images must exist.
 * @returns Pairs with their camera, paths relative to the manifest's folder.
 * @throws {CyclopsError} When the manifest is missing or wrong, the part is empty, or images are absent.
 */
export async function manifestPairs(
  path: string,
  part: "train" | "val" | "test",
  holdout: number,
  side: PairSide,
): Promise<StereoPair[]> {
  const rows = parseManifest(await readText(path), path), root = dirname(path);
  const held = heldOut(rows.length, holdout);
  const chosen = rows.some((row) => row.part)
    ? rows.filter((row) => (row.part ?? "train") === part)
    : rows.filter((_, i) => held.has(i) === (part !== "train"));
  if (chosen.length === 0) {
    throw new CyclopsError(
      `Cannot use the manifest ${path}: no row belongs to ${part}; fill its split column, or change --holdout if it has none`,
    );
  }
  const local = (name: string) => isAbsolute(name) ? relative(resolve(root), name) : name;
  const present = await checkPairs(
    root,
    chosen.map((row) => ({ ...row, left: local(row.left), right: local(row.right) })),
    side,
  );
  // Images of one folder and one camera have one size: reading thousands of headers would take minutes.
  const cameras = new Map<string, StereoCamera>();
  const cameraOf = async ({ left, right, focalPx, baselineM }: ManifestRow) => {
    const image = side === "right" ? right : left;
    const key = `${dirname(image)} ${focalPx} ${baselineM}`;
    let camera = cameras.get(key);
    if (!camera) {
      const size = await imageSize(join(root, image));
      const centerPx = { x: (size.width - 1) / 2, y: (size.height - 1) / 2 };
      cameras.set(key, camera = { imageSize: size, focalPx, baselineM, centerPx });
    }
    return camera;
  };
  const pairs: StereoPair[] = [];
  for (const row of present) {
    const { left, right, truth } = row, camera = await cameraOf(row);
    pairs.push({ left, right, camera, ...(truth && { truth: { ...truth, path: local(truth.path) } }) });
  }
  return pairs;
}

/**
 * The true depths that a manifest's pair comes with.
 *
 * @param root Folder that its paths are relative to.
 * @returns The depths [height, width], m, 0 where unknown, and the camera of exactly this image.
 * @throws {CyclopsError} When the file is missing, damaged or not of the image's size.
 */
export async function readManifestTruth(
  root: string,
  pair: StereoPair & Required<Pick<StereoPair, "camera" | "truth">>,
): Promise<{ readonly depth: FloatMap; readonly camera: StereoCamera }> {
  const { camera, truth } = pair;
  const path = join(root, truth.path);
  const { width, height, data } = await readGray16(path);
  const size = await imageSize(join(root, pair.left));
  if (width !== size.width || height !== size.height) {
    throw new CyclopsError(
      `Cannot use the ${truth.kind} map ${path}: it has ${width}×${height} px, ` +
        `its image ${size.width}×${size.height}`,
    );
  }
  const depths = new Float32Array(data.length), scale = camera.focalPx * camera.baselineM * 256;
  for (let i = 0; i < data.length; i++) {
    if (data[i] > 0) depths[i] = truth.kind === "depth" ? data[i] / 256 : scale / data[i];
  }
  return { depth: { width, height, data: depths }, camera: { ...camera, imageSize: size } };
}
