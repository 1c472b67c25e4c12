/**
 * A fingerprint of the data a run was trained on, saved with each checkpoint, so that a resumed run notices when
 * other data lie under the same name.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "@std/path";
import { fileError, fillFrom } from "../base/files.ts";
import { formatSplit, type PairSide, type StereoPair } from "./split.ts";

/** What tells one data set from another; the folder's own name is no part of it. */
export interface DataIdentity {
  /** The split's name, e.g. "street". */
  readonly split: string;
  /** "train", "val" or "test". */
  readonly part: string;
  /** How many stereo pairs. */
  readonly pairs: number;
  /** Hash of the list of pairs, in order: 16 hexadecimal digits. */
  readonly names: string;
  /** Hash of sizes and beginnings of a few images spread over the list: 16 hexadecimal digits. */
  readonly content: string;
}

/** Images and bytes of each that {@linkcode dataIdentity} reads: quick even for KITTI's 22,600 pairs. */
const PROBES = 16, PROBE_BYTES = 65536;

/**
 * Takes the fingerprint.
 *
 * @param root The data's root folder.
 * @param pairs Not empty.
 * @param side Which images are there to be probed: the right ones for "right", else the left ones.
 * @param cropBottom Share of each image's height that is dropped at the bottom: other pixels of the same files.
 * @throws {CyclopsError} When a probed image cannot be read.
 */
export async function dataIdentity(
  root: string,
  split: string,
  part: string,
  pairs: readonly StereoPair[],
  side: PairSide = "both",
  cropBottom = 0,
): Promise<DataIdentity> {
  const content = createHash("sha256");
  if (cropBottom > 0) content.update(`crop ${cropBottom}:`);
  const probes = Math.min(PROBES, pairs.length);
  const head = new Uint8Array(PROBE_BYTES);
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
    names: createHash("sha256").update(formatSplit(pairs)).digest("hex").slice(0, 16),
    content: content.digest("hex").slice(0, 16),
  };
}

/**
 * In what two fingerprints differ, in words; nothing when they are of the same data.
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
