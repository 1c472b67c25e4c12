/**
 * Results of the ablation: the file that measurements are kept in, and their means over seeds.
 *
 *     data/results/street/results.json
 *     { "format": "cyclops-results", "version": 1, "about": { "command": …, "machine": … }, "results": [ … ] }
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { readJson, writeAtomic } from "../base/files.ts";
import { type DepthMetrics, metricNames } from "./metrics.ts";
import type { Crop } from "./protocol.ts";
import type { TruthKind } from "./truth.ts";

/** A row of the ablation table. */
export interface AblationRow {
  /** As it stands in results files and tables. */
  readonly name: string;
  /** What was trained, and what makes the prediction. */
  readonly meaning: string;
}

/** The rows of the ablation table, in order. Those of the paper keep the paper's names. */
export const ABLATION_ROWS = [
  { name: "train-set mean", meaning: "the mean depth of the training set at each pixel; looks at no image" },
  { name: "HC", meaning: "half-cycle: the student alone" },
  {
    name: "HC-continued",
    meaning: "the same student trained on, for as many updates of the student as S",
  },
  {
    name: "HC equal cost",
    meaning: "the same student trained on, for as much time as S with its backward and refine network took",
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
  { name: "P", meaning: "ours, not the paper's: the student distilled from a privileged teacher" },
] as const satisfies readonly AblationRow[];

/** Name of a row of {@linkcode ABLATION_ROWS}. */
export type AblationRowName = typeof ABLATION_ROWS[number]["name"];

/** Where and how something was measured: results of different settings are never compared or averaged. */
export interface ResultSetting {
  /** "street", "kitti", … */
  readonly dataset: string;
  /** The split's name, e.g. "street" or "eigen". */
  readonly split: string;
  /** "test" or "val". */
  readonly part: string;
  /** Where the true depths come from. */
  readonly truth: TruthKind;
  /** Part of the image that counts. */
  readonly crop: Crop;
  /** Encoder and decoder, e.g. "quick". */
  readonly architecture: string;
  /** Size of the network's images, `HEIGHTxWIDTH` px. */
  readonly size: string;
}

/** One measurement. */
export interface Result extends ResultSetting {
  /** Name of the row: one of {@linkcode ABLATION_ROWS}, or any other for an experiment beside the table. */
  readonly row: string;
  /** Seed of the training; 0 for what is not trained. */
  readonly seed: number;
  /** Averaged with the mirrored image's prediction. */
  readonly flip: boolean;
  /** Greatest depth that counts, m. */
  readonly capM: number;
  /** What came out. */
  readonly metrics: DepthMetrics;
  /** Points compared. */
  readonly points?: number;
  /** Images averaged. */
  readonly images?: number;
  /** Weights of all networks that run at test time. */
  readonly parameters?: number;
  /** Cost of one prediction, 10⁹ operations, a multiply-add being two; twice for flip averaging. */
  readonly gigaflops?: number;
  /** Time of one prediction at batch 1, ms. */
  readonly msPerImage?: number;
  /** Updates that the student got in all its stages. */
  readonly updates?: number;
  /** Folder of the run. */
  readonly run?: string;
  /** Commit of the program. */
  readonly commit?: string;
}

/** A results file. */
export interface ResultsFile {
  /** What made the results: command, machine, commit, date. */
  readonly about: Readonly<Record<string, string>>;
  /** Each measurement once. */
  readonly results: readonly Result[];
}

const FORMAT = "cyclops-results", VERSION = 1;

/** The keys that a {@linkcode ResultSetting} consists of, in the order of titles. */
const SETTING_KEYS = ["dataset", "split", "part", "truth", "crop", "architecture", "size"] as const;
const COST_KEYS = ["parameters", "gigaflops", "msPerImage", "updates"] as const;
const COUNT_KEYS = ["points", "images"] as const;

/** A text that is the same for equal settings. */
export function settingKey(setting: ResultSetting): string {
  return SETTING_KEYS.map((key) => setting[key]).join(" · ");
}

/** A text that is the same for two measurements of the same thing. */
export function resultKey(result: Result): string {
  const { row, seed, flip, capM } = result;
  return `${row}, seed ${seed}, ${flip ? "with" : "without"} flip averaging, ${capM} m, ${
    settingKey(result)
  }`;
}

function parseResult(value: unknown, where: string): Result {
  const bad = (key: string, found: unknown, wanted: string) =>
    new CyclopsError(`Cannot read ${where}: ${key} is ${JSON.stringify(found)}, wanted ${wanted}`);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad("it", value, "an object");
  }
  const json = value as Readonly<Record<string, unknown>>;
  for (const key of ["row", ...SETTING_KEYS]) {
    if (typeof json[key] !== "string" || json[key] === "") throw bad(key, json[key], "a text");
  }
  const among = (key: string, words: readonly string[]) => {
    if (!words.includes(json[key] as string)) throw bad(key, json[key], words.join(", "));
  };
  among("truth", ["lidar", "dense"] satisfies TruthKind[]);
  among("crop", ["garg", "eigen", "none"] satisfies Crop[]);
  if (!/^\d+x\d+$/.test(json.size as string)) throw bad("size", json.size, "HEIGHTxWIDTH in px, e.g. 64x192");
  if (typeof json.flip !== "boolean") throw bad("flip", json.flip, "true or false");
  if (!Number.isSafeInteger(json.seed)) throw bad("seed", json.seed, "a whole number");
  const isCount = (v: unknown) => typeof v === "number" && Number.isFinite(v) && v >= 0;
  if (!isCount(json.capM) || json.capM === 0) throw bad("capM", json.capM, "metres above 0");
  for (const key of [...COST_KEYS, ...COUNT_KEYS]) {
    if (json[key] !== undefined && !isCount(json[key])) throw bad(key, json[key], "a number, at least 0");
  }
  for (const key of ["run", "commit"]) {
    if (json[key] !== undefined && typeof json[key] !== "string") throw bad(key, json[key], "a text");
  }
  const { metrics } = json;
  if (typeof metrics !== "object" || metrics === null) throw bad("metrics", metrics, "an object");
  for (const name of metricNames) {
    const metric = (metrics as Record<string, unknown>)[name];
    if (!isCount(metric)) throw bad(`metrics.${name}`, metric, "a number, at least 0");
  }
  return json as unknown as Result;
}

/**
 * Checks the content of a results file.
 *
 * @param path Name of the file, for errors.
 * @throws {CyclopsError} Naming the result and what is wrong with it, or two results that measure the same thing.
 */
export function parseResults(json: unknown, path: string): ResultsFile {
  const object = (typeof json === "object" && json !== null ? json : {}) as Readonly<Record<string, unknown>>;
  const { format, version, about = {}, results } = object;
  if (format !== FORMAT || version !== VERSION || !Array.isArray(results)) {
    throw new CyclopsError(
      `Cannot read the results ${path}: format is ${JSON.stringify(format)}, version ${
        JSON.stringify(version)
      }, wanted "${FORMAT}", ${VERSION} and a list of results`,
    );
  }
  const texts = typeof about === "object" && about !== null &&
    Object.values(about).every((value) => typeof value === "string");
  if (!texts) throw new CyclopsError(`Cannot read the results ${path}: about is no object of texts`);
  const parsed = results.map((value, i) => parseResult(value, `result ${i} of ${path}`));
  checkOnce(parsed, path);
  return { about: about as Record<string, string>, results: parsed };
}

function checkOnce(results: readonly Result[], where: string): void {
  const seen = new Map<string, Result>();
  for (const result of results) {
    const key = resultKey(result), other = seen.get(key);
    if (other) {
      throw new CyclopsError(
        `Cannot use the results ${where}: measured twice: ${key} (runs ${other.run ?? "?"} and ${
          result.run ?? "?"
        }); take one of them out`,
      );
    }
    seen.set(key, result);
  }
}

/**
 * Reads results files together.
 *
 * @returns All results; `about` of each file under its path.
 * @throws {CyclopsError} When a file is missing or damaged, or something was measured twice.
 */
export async function readResults(
  paths: readonly string[],
): Promise<{ readonly about: ReadonlyMap<string, ResultsFile["about"]>; readonly results: Result[] }> {
  const about = new Map<string, ResultsFile["about"]>(), results: Result[] = [];
  for (const path of paths) {
    const file = parseResults(await readJson(path), path);
    about.set(path, file.about);
    results.push(...file.results);
  }
  checkOnce(results, paths.join(", "));
  return { about, results };
}

/** Adds results to others; one that measures the same thing as an earlier one takes its place. */
export function putResults(before: readonly Result[], added: readonly Result[]): Result[] {
  const all = new Map(before.map((result) => [resultKey(result), result]));
  for (const result of added) all.set(resultKey(result), result);
  return [...all.values()];
}

/** Writes a results file, one result a line, so that its history reads well. */
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
  /** In the unit of what was measured. */
  readonly mean: number;
  /** Sample standard deviation (n − 1); `undefined` for a single seed. */
  readonly deviation: number | undefined;
  /** How many seeds. */
  readonly seeds: number;
}

/** Mean and sample standard deviation; `undefined` for no values. */
export function seedMean(values: readonly number[]): SeedMean | undefined {
  const seeds = values.length;
  if (seeds === 0) return undefined;
  const mean = values.reduce((a, b) => a + b, 0) / seeds;
  const square = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, deviation: seeds > 1 ? Math.sqrt(square / (seeds - 1)) : undefined, seeds };
}

/** A row of one setting at one cap, over its seeds. */
export interface RowMean {
  /** Name of the row. */
  readonly row: string;
  /** Averaged with the mirrored image's prediction. */
  readonly flip: boolean;
  /** Greatest depth that counts, m. */
  readonly capM: number;
  /** Seeds that were measured, ascending. */
  readonly seeds: readonly number[];
  /** Units as in `DepthMetrics`. */
  readonly metrics: Readonly<Record<keyof DepthMetrics, SeedMean>>;
  /** Means over the seeds that say it, units as in {@linkcode Result}; `undefined` where none does. */
  readonly cost: Readonly<
    Record<"parameters" | "gigaflops" | "msPerImage" | "updates", number | undefined>
  >;
}

/** All rows of one setting. */
export interface SettingMeans {
  /** Where and how all of it was measured. */
  readonly setting: ResultSetting;
  /** Caps that were measured, m, the greatest first. */
  readonly capsM: readonly number[];
  /** In the order of {@linkcode ABLATION_ROWS}, others behind them in the order they came. */
  readonly rows: readonly RowMean[];
  /** The measurements themselves. */
  readonly results: readonly Result[];
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  return [...Map.groupBy(items, key).values()];
}

/** Rows in the order of tables. */
function rowOrder(results: readonly Result[]): string[] {
  const known: string[] = ABLATION_ROWS.map(({ name }) => name);
  return [...new Set([...known, ...results.map(({ row }) => row)])];
}

/**
 * Means and standard deviations over seeds, each setting by itself.
 *
 * @throws {CyclopsError} When something was measured twice.
 */
export function aggregateResults(results: readonly Result[]): SettingMeans[] {
  checkOnce(results, "to average");
  return groupBy(results, settingKey).map((group) => {
    const { dataset, split, part, truth, crop, architecture, size } = group[0];
    const order = rowOrder(group);
    const rows = groupBy(group, ({ row, flip, capM }) => JSON.stringify([row, flip, capM])).map(
      (same): RowMean => {
        const { row, flip, capM } = same[0];
        const metric = (name: keyof DepthMetrics) => [name, seedMean(same.map((r) => r.metrics[name]))];
        const cost = (key: typeof COST_KEYS[number]) => [
          key,
          seedMean(same.map((r) => r[key]).filter((v) => v !== undefined))?.mean,
        ];
        return {
          row,
          flip,
          capM,
          seeds: same.map(({ seed }) => seed).sort((a, b) => a - b),
          metrics: Object.fromEntries(metricNames.map(metric)),
          cost: Object.fromEntries(COST_KEYS.map(cost)),
        };
      },
    );
    rows.sort((a, b) => order.indexOf(a.row) - order.indexOf(b.row));
    return {
      setting: { dataset, split, part, truth, crop, architecture, size },
      capsM: [...new Set(group.map(({ capM }) => capM))].sort((a, b) => b - a),
      rows,
      results: group,
    };
  });
}

/**
 * How much lower a row's abs rel is than another's, seed by seed: the same seed starts both from the same weights and
 * data order, so that the difference varies less than the rows themselves.
 *
 * @param results Of one setting.
 * @returns Share of the other's abs rel: 0.05 is 5 % better, negative is worse; `undefined` where no seed has both.
 */
export function pairedGain(
  results: readonly Result[],
  row: string,
  over: string,
  { flip, capM }: { readonly flip: boolean; readonly capM: number },
): SeedMean | undefined {
  const of = (name: string) =>
    new Map(
      results.filter((r) => r.row === name && r.flip === flip && r.capM === capM)
        .map((r) => [r.seed, r.metrics.absRel]),
    );
  const others = of(over);
  const gains = [...of(row)].flatMap(([seed, absRel]) => {
    const other = others.get(seed);
    return other === undefined ? [] : [1 - absRel / other];
  });
  return seedMean(gains);
}
