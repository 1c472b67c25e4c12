/**
 * Published numbers as facts, each with how sure it is: `data/paper_tables.json`. Nothing here was measured by this
 * project; tables and charts show these numbers in a style of their own.
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import facts from "../../data/paper_tables.json" with { type: "json" };
import { type DepthMetrics, metricNames } from "./metrics.ts";
import type { Crop, Protocol } from "./protocol.ts";
import type { TruthKind } from "./truth.ts";

/** How sure a published number is: seen in a public text; in part; known but not seen. */
export type PublishedStanding = "confirmed" | "partial" | "recalled";

const STANDINGS: readonly PublishedStanding[] = ["confirmed", "partial", "recalled"];

/** One line of a published table. */
export interface PublishedRow {
  /** The row's name in the ablation table, e.g. "HC", or the method's, e.g. "monodepth2 (S)". */
  readonly name: string;
  /** What the row is: a part of the method, or what another method learns from ("stereo", "video", "depth"). */
  readonly meaning: string;
  /** null where no number is known. Units as in {@linkcode DepthMetrics}. */
  readonly values: Readonly<Record<keyof DepthMetrics, number | null>>;
  /** How sure the row as a whole is. */
  readonly standing: PublishedStanding;
  /** How sure each number is; the row's own standing where nothing finer is known. */
  readonly standings: Readonly<Record<keyof DepthMetrics, PublishedStanding>>;
  /** What is in doubt. */
  readonly note?: string;
}

/** How published numbers were measured. */
export interface PublishedProtocol extends Protocol {
  /** "kitti" */
  readonly dataset: string;
  /** "eigen" */
  readonly split: string;
  /** "test" */
  readonly part: string;
  /** Where the true depths come from. */
  readonly truth: TruthKind;
}

/** The published numbers and how they were measured. */
export interface PublishedTables {
  /** Where the numbers come from, in words. */
  readonly about: string;
  /** The protocol that all of them share. */
  readonly protocol: PublishedProtocol;
  /** The ablation table of Pilzer et al. 2019. */
  readonly refineAndDistill: readonly PublishedRow[];
  /** Other methods. */
  readonly others: readonly PublishedRow[];
}

type Json = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Checks the content of `data/paper_tables.json`.
 *
 * @param path Name of the file, for errors.
 * @throws {CyclopsError} Naming the entry and what is wrong with it.
 */
export function parsePublished(json: unknown, path: string): PublishedTables {
  const bad = (where: string, found: unknown, wanted: string) =>
    new CyclopsError(
      `Cannot read the published numbers ${path}: ${where} is ${JSON.stringify(found)}, wanted ${wanted}`,
    );
  const text = (object: Json, key: string, where: string): string => {
    const value = object[key];
    if (typeof value !== "string" || value === "") throw bad(`${where}.${key}`, value, "a text");
    return value;
  };
  const standing = (value: unknown, where: string): PublishedStanding => {
    if (!(STANDINGS as readonly unknown[]).includes(value)) throw bad(where, value, STANDINGS.join(", "));
    return value as PublishedStanding;
  };
  if (!isObject(json)) throw bad("it", json, "an object");
  const { columns, protocol } = json;
  if (JSON.stringify(columns) !== JSON.stringify(metricNames)) {
    throw bad("columns", columns, metricNames.join(", "));
  }
  if (!isObject(protocol)) throw bad("protocol", protocol, "an object");
  const row = (value: unknown, where: string): PublishedRow => {
    if (!isObject(value)) throw bad(where, value, "an object");
    const { values, standings = {}, note } = value;
    const known = (v: unknown) => v === null || (typeof v === "number" && Number.isFinite(v) && v >= 0);
    if (!Array.isArray(values) || values.length !== metricNames.length || !values.every(known)) {
      throw bad(`${where}.values`, values, `${metricNames.length} numbers or nulls`);
    }
    if (!isObject(standings)) throw bad(`${where}.standings`, standings, "an object");
    for (const name of Object.keys(standings)) {
      if (!(metricNames as readonly string[]).includes(name)) {
        throw bad(`${where}.standings`, name, `keys out of ${metricNames.join(", ")}`);
      }
    }
    if (note !== undefined && typeof note !== "string") throw bad(`${where}.note`, note, "a text");
    const whole = standing(value.standing, `${where}.standing`);
    const own = "row" in value;
    const each = <T>(of: (name: keyof DepthMetrics, i: number) => T) =>
      Object.fromEntries(metricNames.map((name, i) => [name, of(name, i)])) as Record<keyof DepthMetrics, T>;
    return {
      name: text(value, own ? "row" : "method", where),
      meaning: text(value, own ? "meaning" : "supervision", where),
      values: each((_, i) => values[i] as number | null),
      standing: whole,
      standings: each((name) =>
        name in standings ? standing(standings[name], `${where}.standings.${name}`) : whole
      ),
      ...(note === undefined ? {} : { note }),
    };
  };
  const rows = (key: string): PublishedRow[] => {
    const list = json[key];
    if (!Array.isArray(list)) throw bad(key, list, "a list");
    const parsed = list.map((value, i) => row(value, `${key}[${i}]`));
    const twice = parsed.find(({ name }, i) => parsed.findIndex((other) => other.name === name) !== i);
    if (twice) throw bad(key, twice.name, "each name once");
    return parsed;
  };
  const capM = protocol.capM;
  if (typeof capM !== "number" || !(capM > 0)) throw bad("protocol.capM", capM, "metres above 0");
  return {
    about: text(json, "about", "it"),
    protocol: {
      dataset: text(protocol, "dataset", "protocol"),
      split: text(protocol, "split", "protocol"),
      part: text(protocol, "part", "protocol"),
      truth: text(protocol, "truth", "protocol") as TruthKind,
      crop: text(protocol, "crop", "protocol") as Crop,
      capM,
    },
    refineAndDistill: rows("refineAndDistill"),
    others: rows("others"),
  };
}

let read: PublishedTables | undefined;

/** The published numbers that come with the project. */
export function publishedTables(): PublishedTables {
  return read ??= parsePublished(facts, "data/paper_tables.json");
}
