/**
 * The ablation's results, where they have been measured.
 *
 * @module
 */
import { join } from "@std/path";
import { exists } from "../base/files.ts";
import { aggregateResults, readResults, type SettingMeans } from "../evaluation/results.ts";
import { PROJECT } from "./data.ts";

/** Results file of the ablation on streets. */
export const STREET_RESULTS: string = join(PROJECT, "data/results/street/results.json");

/** What has been measured. */
export interface LessonResults {
  /** Each setting by itself; where nothing was measured, a single one without rows. */
  readonly settings: readonly SettingMeans[];
  /** How often a result was measured, how, and how to make more: lines of text. */
  readonly about: readonly string[];
  /** Whether there is anything. */
  readonly measured: boolean;
}

/**
 * Reads the ablation's results.
 *
 * @param path The results file. It may be missing.
 * @throws {CyclopsError} When it is damaged.
 */
export async function readLessonResults(path: string = STREET_RESULTS): Promise<LessonResults> {
  const name = path.startsWith(PROJECT) ? path.slice(PROJECT.length + 1) : path;
  if (!await exists(path)) {
    const about = [
      `${name} is not there: deno task reproduce makes it, in an hour or whatever --budget says`,
    ];
    return { settings: [NOTHING], about, measured: false };
  }
  const { results, about } = await readResults([path]);
  const facts = Object.entries(about.get(path) ?? {}).map(([key, value]) => `${key}: ${value}`);
  return { settings: aggregateResults(results), about: [name, ...facts], measured: true };
}

/** What `deno task reproduce` measures first. */
const NOTHING: SettingMeans = {
  setting: {
    dataset: "street",
    split: "street",
    part: "test",
    truth: "lidar",
    crop: "garg",
    architecture: "quick",
    size: "64x192",
  },
  capsM: [80, 50],
  rows: [],
  results: [],
};
