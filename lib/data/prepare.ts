/**
 * Prepares a data set for training: all images resized once and kept uncompressed in packs of some hundred pairs, with
 * their cameras and laser points. A loader then reads instead of decoding.
 *
 *     OUT/prepared.json        parts, pairs, cameras; see PreparedIndex
 *         train-0000.pack      images, left and right of each pair in turn; see encodePack
 *         test-0000.points     the laser points of the same pairs, where there are scans
 *         prepare.jsonl        what was finished of a preparation that was interrupted; removed at its end
 *
 * @module
 */
import { isAbsolute, join } from "@std/path";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { exists, readText, writeAtomic } from "../base/files.ts";
import { formatSize } from "../base/options.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import { CITYSCAPES_CROP_BOTTOM, isCityscapes } from "./cityscapes.ts";
import {
  type DataPart,
  pointsOf,
  PREPARED,
  type PreparedIndex,
  type PreparedPair,
  splitPairs,
  withCameras,
} from "./dataset.ts";
import { encodePack, imageSize, readRgb, type RgbImage } from "./image.ts";
import { findImage, folderLookup, type StereoPair } from "./split.ts";

/** What {@linkcode prepareData} does. */
export interface PrepareOptions {
  /** Root folder of KITTI raw, Cityscapes or street data. */
  readonly data: string;
  /** As in `openDataset`; a file is a training part. */
  readonly split: string;
  readonly parts: readonly DataPart[];
  /** Size of the images, px. */
  readonly size: ImageSize;
  /** At most so many pairs of the training part, spread evenly over it. @default all */
  readonly pairs?: number;
  /** Pairs in a pack. @default 256 */
  readonly packPairs?: number;
  /** The bytes of a frame's laser points; `undefined` where it has no scan. @default no points */
  readonly points?: (pair: StereoPair) => Promise<Uint8Array | undefined>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, skipped: number) => void;
}

/** What {@linkcode prepareData} did. */
export interface PrepareReport {
  readonly pairs: Readonly<Partial<Record<DataPart, number>>>;
  /** Pairs that could not be read, and why. */
  readonly skipped: readonly string[];
  /** Of the whole folder. */
  readonly bytes: number;
  /** False when it was interrupted: the same call goes on. */
  readonly complete: boolean;
}

/** What the journal says of a finished pack; `to`: how many pairs of the part it and those before it went through. */
interface PackRecord {
  readonly part: DataPart;
  readonly to: number;
  readonly pairs: readonly PreparedPair[];
  readonly cameras: readonly StereoCamera[];
  readonly skipped: readonly string[];
  readonly bytes: number;
}

/** Pairs that are read at once: two for each of a small machine's cores. */
const AT_ONCE = 4;
/** Images with their points. */
type Prepared = {
  readonly pair: StereoPair;
  readonly views: readonly RgbImage[];
  readonly points?: Uint8Array;
};

/**
 * Prepares data in a folder of their own. Interrupted, it goes on with the next pack when it is called again with the
 * same options; a pair that cannot be read is left out and told.
 *
 * @throws {CyclopsError} When the folder holds other data, or nothing could be prepared at all.
 */
export async function prepareData(out: string, options: PrepareOptions): Promise<PrepareReport> {
  const { data, split, parts, size, pairs: limit, packPairs = 256, signal } = options;
  const journal = join(out, "prepare.jsonl"), root = isAbsolute(data) ? data : join(Deno.cwd(), data);
  const head = JSON.stringify({ data: root, split, parts, size: formatSize(size), pairs: limit, packPairs });
  const has = folderLookup(data), records: PackRecord[] = [];
  if (await exists(join(out, PREPARED))) {
    throw new CyclopsError(
      `Cannot prepare data in ${out}: it holds prepared data already, give another --out`,
    );
  }
  if (await exists(journal)) {
    const [first, ...lines] = (await readText(journal)).split("\n").filter(Boolean);
    if (first !== head) {
      throw new CyclopsError(
        `Cannot go on preparing data in ${out}: it was begun with other options (${first}), give another --out`,
      );
    }
    for (const line of lines) {
      try {
        records.push(JSON.parse(line) as PackRecord);
      } catch { /* Cut off while it was being written: this pack is made again. */ }
    }
  }
  const lists = await Promise.all(parts.map(async (part) => {
    const { pairs } = await splitPairs(data, split, part, "both");
    const crop = pairs.every(({ left }) => isCityscapes(left)) ? CITYSCAPES_CROP_BOTTOM : 0;
    const known = await withCameras(data, pairs, crop);
    const count = part === "train" ? Math.min(limit ?? known.length, known.length) : known.length;
    return {
      part,
      crop,
      pairs: Array.from({ length: count }, (_, i) => known[Math.floor(i * known.length / count)]),
    };
  }));
  const total = lists.reduce((sum, { pairs }) => sum + pairs.length, 0);
  const skippedSoFar = () => records.reduce((sum, { skipped }) => sum + skipped.length, 0);
  let before = 0;
  for (const { part, crop, pairs } of lists) {
    const own = records.filter((record) => record.part === part);
    let number = own.length, done = own.at(-1)?.to ?? 0;
    while (done < pairs.length) {
      const from = done, prepared: Prepared[] = [], skipped: string[] = [];
      while (done < pairs.length && prepared.length < packPairs) {
        if (signal?.aborted) return report(records, false);
        const room = Math.min(AT_ONCE, packPairs - prepared.length);
        const some = await Promise.all(
          pairs.slice(done, done + room).map((pair) => readPrepared(has, pair, crop, options)),
        );
        for (const item of some) typeof item === "string" ? skipped.push(item) : prepared.push(item);
        done += some.length;
        options.onProgress?.(before + done, total, skippedSoFar() + skipped.length);
      }
      const pack = `${part}-${String(number++).padStart(4, "0")}.pack`;
      const record = { ...await writePack(out, pack, prepared), part, to: done, skipped };
      records.push(record);
      // The pack is on the disk before the journal says so.
      const text = from === 0 && records.length === 1 ? `${head}\n` : "";
      await Deno.writeTextFile(journal, `${text}${JSON.stringify(record)}\n`, { append: true });
    }
    before += pairs.length;
  }
  if (records.every((record) => record.pairs.length === 0)) {
    throw new CyclopsError(
      `Cannot prepare ${data}: none of its ${total} pairs could be read, e.g. ${records[0]?.skipped[0]}`,
    );
  }
  await writeIndex(out, split, size, records);
  await Deno.remove(journal);
  return report(records, true);
}

function report(records: readonly PackRecord[], complete: boolean): PrepareReport {
  const pairs: Partial<Record<DataPart, number>> = {};
  for (const record of records) pairs[record.part] = (pairs[record.part] ?? 0) + record.pairs.length;
  const skipped = records.flatMap((record) => record.skipped);
  return { pairs, skipped, bytes: records.reduce((sum, { bytes }) => sum + bytes, 0), complete };
}

/** A pair's images at their size, or why it is left out. */
async function readPrepared(
  has: (path: string) => Promise<boolean>,
  pair: StereoPair,
  crop: number,
  { data, size, points }: PrepareOptions,
): Promise<Prepared | string> {
  try {
    const left = await findImage(has, pair.left), right = await findImage(has, pair.right);
    if (left === undefined || right === undefined) {
      return `${pair.left}: no ${left === undefined ? "left" : "right"} image`;
    }
    const paths = [join(data, left), join(data, right)];
    const [a, b] = await Promise.all(paths.map(imageSize));
    if (a.width !== b.width || a.height !== b.height) {
      return `${pair.left}: left ${a.width}×${a.height} px, right ${b.width}×${b.height}`;
    }
    const views = await Promise.all(paths.map((path) => readRgb(path, size, crop)));
    return { pair: { ...pair, left, right }, views, points: await points?.(pair) };
  } catch (error) {
    return `${pair.left}: ${messageOf(error)}`;
  }
}

async function writePack(
  out: string,
  pack: string,
  prepared: readonly Prepared[],
): Promise<Pick<PackRecord, "pairs" | "cameras" | "bytes">> {
  if (prepared.length === 0) return { pairs: [], cameras: [], bytes: 0 };
  const chunks = encodePack(prepared.flatMap(({ views }) => views)), points: Uint8Array[] = [];
  const cameras: StereoCamera[] = [], places = new Map<string, number>();
  let offset = 0;
  const pairs = prepared.map(({ pair, points: own }, i): PreparedPair => {
    const key = JSON.stringify(pair.camera);
    if (pair.camera && !places.has(key)) places.set(key, cameras.push(pair.camera) - 1);
    const at = own ? offset : -1;
    if (own) points.push(own), offset += own.length;
    return [pair.left, pair.right, places.get(key) ?? -1, pack, 2 * i, at];
  });
  await writeAtomic(join(out, pack), chunks);
  if (points.length) await writeAtomic(join(out, pointsOf(pack)), points);
  return { pairs, cameras, bytes: offset + chunks.reduce((sum, { length }) => sum + length, 0) };
}

/** Cameras of all packs together, each once. */
async function writeIndex(
  out: string,
  split: string,
  size: ImageSize,
  records: readonly PackRecord[],
): Promise<void> {
  const cameras = new Map<string, number>(), parts: Partial<Record<DataPart, PreparedPair[]>> = {};
  for (const record of records) {
    const places = record.cameras.map((camera) => {
      const key = JSON.stringify(camera);
      if (!cameras.has(key)) cameras.set(key, cameras.size);
      return cameras.get(key)!;
    });
    const list = parts[record.part] ??= [];
    for (const [left, right, camera, ...rest] of record.pairs) {
      list.push([left, right, places[camera] ?? -1, ...rest]);
    }
  }
  const index: PreparedIndex = {
    format: "cyclops-prepared",
    version: 1,
    split,
    size: formatSize(size),
    cameras: [...cameras.keys()].map((key) => JSON.parse(key)),
    parts,
  };
  await writeAtomic(join(out, PREPARED), JSON.stringify(index));
}
