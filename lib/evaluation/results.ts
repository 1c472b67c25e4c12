/**
 * Results: files of predictions to evaluate, the file that results are kept in, their means over seeds, and published
 * numbers to set beside them.
 *
 *     data/results/street/results.json
 *     { "format": "cyclops-results", "version": 1, "about": { "command": …, "machine": … }, "results": [ … ] }
 *
 * @module
 */
import facts from "../../data/paper_tables.json" with { type: "json" };
import { CyclopsError } from "../base/errors.ts";
import { readJson, writeAtomic } from "../base/files.ts";
import { readNpy } from "../data/npy.ts";
import type { ExtraMetrics } from "./dense.ts";
import {
  checkDisparities,
  type Crop,
  type DepthMetrics,
  type Disparities,
  metricNames,
  type Protocol,
} from "./protocol.ts";
import { TRUTH_KINDS, type TruthKind } from "./truth.ts";

/**
 * Reads predictions from a .npy file of shape [frames, height, width], float32 or float64.
 *
 * @returns Maps in the file's order.
 * @throws {CyclopsError} When the file is damaged, has another rank, or holds values that are not fractions of the width.
 */
export async function readDisparities(path: string): Promise<Disparities> {
  const { shape, data } = await readNpy(path);
  if (shape.length !== 3 || shape.includes(0)) {
    throw new CyclopsError(
      `Cannot evaluate ${path}: its shape is (${shape.join(", ")}), expected (frames, height, width)`,
    );
  }
  const [count, height, width] = shape;
  const disparities = { count, height, width, data, path };
  checkDisparities(disparities, path);
  return disparities;
}

/** The rows of the ablation table, in order: their names in results files, and what they mean. */
export const ABLATION_ROWS = [
  { name: "train-set mean", meaning: "the mean depth of the training set at each pixel; sees no image" },
  { name: "street zero-shot", meaning: "a student that has only seen rendered streets" },
  { name: "HC", meaning: "half-cycle: the student alone" },
  {
    name: "HC-continued",
    meaning: "the same student after more training: as many updates of the student as S",
  },
  {
    name: "HC equal cost",
    meaning: "the same student after more training: as much time as S with its teacher took",
  },
  {
    name: "HC plain colors",
    meaning: "HC-continued without changed colors, as refine networks see the images",
  },
  {
    name: "HC occlusion masks",
    meaning: "HC-continued, its photometric loss without the pixels that only one view shows",
  },
  { name: "C", meaning: "cycle: the student trained with a backward network" },
  { name: "T feat", meaning: "teacher whose refine network sees the student's features" },
  { name: "T disp", meaning: "teacher whose refine network sees the disparities" },
  { name: "T", meaning: "teacher: student, backward and inconsistency-aware refine network" },
  {
    name: "T without inconsistency",
    meaning: "control: the same refine network, its inconsistency inputs zeroed",
  },
  { name: "S", meaning: "the student distilled from T" },
  {
    name: "S self-distilled",
    meaning: "control: the student distilled from its own flip average",
  },
  { name: "P's teacher", meaning: "ours, not the paper's: a teacher that sees the opposite view" },
  {
    name: "P",
    meaning:
      "ours, not the paper's: the student distilled from that teacher, with hints of semi-global matching",
  },
  {
    name: "W's teacher",
    meaning: "control: a student of a larger network, lite0, that starts from ImageNet's weights",
  },
  { name: "W", meaning: "the student distilled from that larger one" },
  { name: "hints alone", meaning: "control: HC-continued with the same hints, without a teacher" },
  {
    name: "oracle",
    meaning:
      "the student after as many updates towards the exact disparity alone: what distillation could give",
  },
] as const;

/** Where and how a result was measured: results of different settings are never compared or averaged. */
export interface ResultSetting {
  /** "street", "kitti", "cityscapes", or what the data were called when they were trained on. */
  readonly dataset: string;
  readonly split: string;
  readonly part: string;
  /** "manifest": the disparities or depths that a manifest names. */
  readonly truth: TruthKind | "manifest";
  readonly crop: Crop;
  readonly architecture: string;
  /** Size of the network's images, `HEIGHTxWIDTH` px. */
  readonly size: string;
}

/** One result. */
export interface Result extends ResultSetting {
  /** One of {@linkcode ABLATION_ROWS}, or any other name for an experiment beside the table. */
  readonly row: string;
  /** Seed of the training; 0 for what is not trained. */
  readonly seed: number;
  readonly flip: boolean;
  readonly capM: number;
  readonly metrics: DepthMetrics & ExtraMetrics;
  readonly points?: number;
  readonly images?: number;
  /** Parameters of all networks that run at test time. */
  readonly parameters?: number;
  /** Cost of one prediction, 10⁹ operations, a multiply-add counted as two; doubled for flip averaging. */
  readonly gigaflops?: number;
  /** Time of one prediction at batch 1, ms. */
  readonly msPerImage?: number;
  /** Updates of the student in all its stages. */
  readonly updates?: number;
  /** Time of all trainings that the row needs, its teacher's included, relative to HC-continued's. */
  readonly relativeCost?: number;
  readonly run?: string;
  readonly commit?: string;
}

/** A results file. */
export interface ResultsFile {
  /** What made the results: command, machine, commit, date. */
  readonly about: Readonly<Record<string, string>>;
  /** Without duplicates. */
  readonly results: readonly Result[];
}

const FORMAT = "cyclops-results", VERSION = 1;

/** The keys that a {@linkcode ResultSetting} consists of, in the order of titles. */
const SETTING_KEYS = ["dataset", "split", "part", "truth", "crop", "architecture", "size"] as const;
const COST_KEYS = ["parameters", "gigaflops", "msPerImage", "updates", "relativeCost"] as const;
const COUNT_KEYS = ["points", "images"] as const;

/** The same string for equal settings. */
function settingKey(setting: ResultSetting): string {
  return SETTING_KEYS.map((key) => setting[key]).join(" · ");
}

/** Equal for two results of the same row, seed, cap and setting. */
function resultKey(result: Result): string {
  const { row, seed, flip, capM } = result;
  return `${row}, seed ${seed}, ${flip ? "with" : "without"} flip averaging, ${capM} m, ${
    settingKey(result)
  }`;
}

function checkResult(value: unknown, where: string): Result {
  const json = value as Readonly<Record<string, unknown>>;
  const check = (key: string, found: unknown, valid: boolean, expected: string) => {
    if (valid) return;
    throw new CyclopsError(`Cannot read ${where}: ${key} is ${JSON.stringify(found)}, expected ${expected}`);
  };
  const isObject = (v: unknown) => typeof v === "object" && v !== null && !Array.isArray(v);
  const isCount = (v: unknown) => typeof v === "number" && Number.isFinite(v) && v >= 0;
  check("it", value, isObject(value), "an object");
  for (const key of ["row", ...SETTING_KEYS]) {
    check(key, json[key], typeof json[key] === "string" && json[key] !== "", "a string");
  }
  const words = {
    truth: [...Object.keys(TRUTH_KINDS), "manifest"],
    crop: ["garg", "eigen", "cityscapes", "none"],
  };
  for (const [key, allowed] of Object.entries(words)) {
    check(key, json[key], allowed.includes(json[key] as string), allowed.join(", "));
  }
  check("size", json.size, /^\d+x\d+$/.test(json.size as string), "HEIGHTxWIDTH in px, e.g. 64x192");
  check("flip", json.flip, typeof json.flip === "boolean", "true or false");
  check("seed", json.seed, Number.isSafeInteger(json.seed), "an integer");
  check("capM", json.capM, isCount(json.capM) && json.capM !== 0, "meters above 0");
  for (const key of [...COST_KEYS, ...COUNT_KEYS]) {
    check(key, json[key], json[key] === undefined || isCount(json[key]), "a number ≥ 0");
  }
  for (const key of ["run", "commit"]) {
    check(key, json[key], json[key] === undefined || typeof json[key] === "string", "a string");
  }
  check("metrics", json.metrics, isObject(json.metrics), "an object");
  for (const name of metricNames) {
    const metric = (json.metrics as Record<string, unknown>)[name];
    check(`metrics.${name}`, metric, isCount(metric), "a number ≥ 0");
  }
  // Version 0.1 kept the protocol among them.
  const { protocol: _, ...metrics } = json.metrics as Record<string, unknown>;
  for (const [name, metric] of Object.entries(metrics)) {
    check(`metrics.${name}`, metric, Number.isFinite(metric), "a number");
  }
  return { ...json, metrics } as unknown as Result;
}

/**
 * Checks the content of a results file.
 *
 * @param path Name of the file, for errors.
 * @throws {CyclopsError} Naming the result and what is wrong with it, or a duplicate.
 */
export function parseResults(json: unknown, path: string): ResultsFile {
  const { format, version, about = {}, results } = (json ?? {}) as Readonly<Record<string, unknown>>;
  if (format !== FORMAT || version !== VERSION || !Array.isArray(results)) {
    const found = `format ${JSON.stringify(format)}, version ${JSON.stringify(version)}`;
    throw new CyclopsError(
      `Cannot read the results ${path}: found ${found}, expected "${FORMAT}", ${VERSION} and a list of results`,
    );
  }
  if (!Object.values(about as object).every((value) => typeof value === "string")) {
    throw new CyclopsError(`Cannot read the results ${path}: about is not an object of strings`);
  }
  const checked = results.map((value, i) => checkResult(value, `result ${i} of ${path}`));
  checkUnique(checked, path);
  return { about: about as Record<string, string>, results: checked };
}

function checkUnique(results: readonly Result[], where: string): void {
  const seen = new Map<string, Result>();
  for (const result of results) {
    const key = resultKey(result), other = seen.get(key);
    if (other) {
      throw new CyclopsError(
        `Cannot use the results ${where}: found two results for ${key} (runs ${other.run ?? "?"} and ` +
          `${result.run ?? "?"}); remove one of them`,
      );
    }
    seen.set(key, result);
  }
}

/**
 * Reads results files together.
 *
 * @returns All results; `about` of each file under its path.
 * @throws {CyclopsError} When a file is missing or damaged, or holds duplicates.
 */
export async function readResults(
  paths: readonly string[],
): Promise<{ readonly about: ReadonlyMap<string, ResultsFile["about"]>; readonly results: Result[] }> {
  const files = await Promise.all(paths.map(async (path) => parseResults(await readJson(path), path)));
  const results = files.flatMap((file) => file.results);
  checkUnique(results, paths.join(", "));
  return { about: new Map(files.map(({ about }, i) => [paths[i], about])), results };
}

/** Adds results to others; a new one replaces its duplicate. */
export function putResults(before: readonly Result[], added: readonly Result[]): Result[] {
  const all = new Map(before.map((result) => [resultKey(result), result]));
  for (const result of added) all.set(resultKey(result), result);
  return [...all.values()];
}

/** Writes a results file, one result per line, for readable diffs. */
export async function writeResults(path: string, file: ResultsFile): Promise<void> {
  parseResults({ format: FORMAT, version: VERSION, ...file }, path);
  const lines = file.results.map((result) => `    ${JSON.stringify(result)}`);
  const about = JSON.stringify(file.about, undefined, 2).replaceAll("\n", "\n  ");
  await writeAtomic(
    path,
    `{\n  "format": "${FORMAT}",\n  "version": ${VERSION},\n  "about": ${about},\n  "results": [\n` +
      `${lines.join(",\n")}\n  ]\n}\n`,
  );
}

/** A mean over seeds. */
export interface SeedMean {
  readonly mean: number;
  /** Sample standard deviation (n − 1); `undefined` for a single seed. */
  readonly deviation: number | undefined;
  /** Half the width of the mean's 95 % confidence interval, by Student's t distribution. */
  readonly interval: number | undefined;
  readonly seeds: number;
}

/** The 97.5 % quantile of Student's t distribution, to 0.2 %. */
function quantile975(degrees: number): number {
  if (degrees === 1) return 12.7062;
  if (degrees === 2) return 4.3027;
  // Cornish-Fisher expansion around the normal distribution's.
  return [1.95996, 2.37227, 2.8225, 2.55585, 1.58953].reduce(
    (sum, c, power) => sum + c / degrees ** power,
    0,
  );
}

/** Mean, sample standard deviation and confidence interval; `undefined` for no values. */
export function seedMean(values: readonly number[]): SeedMean | undefined {
  const seeds = values.length;
  if (seeds === 0) return undefined;
  const mean = values.reduce((a, b) => a + b, 0) / seeds;
  const square = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  if (seeds === 1) return { mean, deviation: undefined, interval: undefined, seeds };
  const deviation = Math.sqrt(square / (seeds - 1));
  return { mean, deviation, interval: quantile975(seeds - 1) * deviation / Math.sqrt(seeds), seeds };
}

/** A row of one setting at one cap, over its seeds. */
export interface RowMean extends Pick<Result, "row" | "flip" | "capM"> {
  /** Ascending. */
  readonly seeds: readonly number[];
  readonly metrics:
    & Readonly<Record<keyof DepthMetrics, SeedMean>>
    & { readonly [M in keyof ExtraMetrics]: SeedMean };
  /** Means over the seeds that have it, units as in {@linkcode Result}; `undefined` where none does. */
  readonly cost: Readonly<Record<typeof COST_KEYS[number], number | undefined>>;
}

/** All rows of one setting. */
export interface SettingMeans {
  readonly setting: ResultSetting;
  /** Measured caps, m, the greatest first. */
  readonly capsM: readonly number[];
  /** In the order of {@linkcode ABLATION_ROWS}, others after them in the order of the results. */
  readonly rows: readonly RowMean[];
  readonly results: readonly Result[];
}

/**
 * Means and standard deviations over seeds, for each setting.
 *
 * @throws {CyclopsError} On duplicates.
 */
export function aggregateResults(results: readonly Result[]): SettingMeans[] {
  checkUnique(results, "for averaging");
  return [...Map.groupBy(results, settingKey).values()].map((group) => {
    const { dataset, split, part, truth, crop, architecture, size } = group[0];
    const same = Map.groupBy(group, ({ row, flip, capM }) => JSON.stringify([row, flip, capM]));
    const rows = [...same.values()].map((results): RowMean => {
      const { row, flip, capM } = results[0];
      const cost = (key: typeof COST_KEYS[number]) =>
        seedMean(results.flatMap((result) => result[key] ?? []))?.mean;
      return {
        row,
        flip,
        capM,
        seeds: results.map(({ seed }) => seed).sort((a, b) => a - b),
        metrics: Object.fromEntries(
          [...new Set(results.flatMap(({ metrics }) => Object.keys(metrics)))].map((name) => [
            name,
            seedMean(results.flatMap(({ metrics }) => metrics[name as keyof DepthMetrics] ?? [])),
          ]),
        ) as unknown as RowMean["metrics"],
        cost: Object.fromEntries(COST_KEYS.map((key) => [key, cost(key)])) as RowMean["cost"],
      };
    });
    const order = [
      ...new Set([...ABLATION_ROWS, ...group.map(({ row }) => ({ name: row }))].map(({ name }) => name)),
    ];
    return {
      setting: { dataset, split, part, truth, crop, architecture, size },
      capsM: [...new Set(group.map(({ capM }) => capM))].sort((a, b) => b - a),
      rows: rows.sort((a, b) => order.indexOf(a.row) - order.indexOf(b.row)),
      results: group,
    };
  });
}

/**
 * How much lower a row's abs rel is than another's, seed by seed: both start from the same weights and data order, so
 * that the difference varies less than the rows themselves.
 *
 * @param results Of one setting.
 * @returns Fraction of the other's abs rel: 0.05 is 5 % better, negative is worse; `undefined` where no seed has both.
 */
export function pairedGain(
  results: readonly Result[],
  row: string,
  over: string,
  { flip, capM }: { readonly flip: boolean; readonly capM: number },
): SeedMean | undefined {
  const of = (name: string) => results.filter((r) => r.row === name && r.flip === flip && r.capM === capM);
  const others = new Map(of(over).map(({ seed, metrics }) => [seed, metrics.absRel]));
  return seedMean(
    of(row).flatMap(({ seed, metrics }) => {
      const other = others.get(seed);
      return other === undefined ? [] : [1 - metrics.absRel / other];
    }),
  );
}

/** One line of a published table. */
export interface PublishedRow {
  /** The row's name in the ablation table, e.g. "HC", or the method's, e.g. "monodepth2 (S)". */
  readonly name: string;
  /** A part of the method, or what another method learns from ("stereo", "video", "depth"). */
  readonly meaning: string;
  /** null where no source has the number. Units as in {@linkcode DepthMetrics}. */
  readonly values: Readonly<Record<keyof DepthMetrics, number | null>>;
  /** A caveat. */
  readonly note?: string;
}

/** The published numbers and the protocol that all of them share. */
export interface PublishedTables {
  /** Data, split and points evaluated. */
  readonly protocol:
    & Pick<Protocol, "crop" | "capM">
    & Pick<ResultSetting, "dataset" | "split" | "part" | "truth">;
  /** The ablation table of Pilzer et al. 2019. */
  readonly refineAndDistill: readonly PublishedRow[];
  readonly others: readonly PublishedRow[];
}

/** The published numbers that come with the project. */
export function publishedTables(): PublishedTables {
  const rows = (
    list: readonly { name: string; meaning: string; values: (number | null)[]; note?: string }[],
  ) =>
    list.map(({ values, ...row }): PublishedRow => ({
      ...row,
      values: Object.fromEntries(metricNames.map((name, i) => [name, values[i]])) as PublishedRow["values"],
    }));
  return {
    protocol: facts.protocol as PublishedTables["protocol"],
    refineAndDistill: rows(facts.refineAndDistill),
    others: rows(facts.others),
  };
}
