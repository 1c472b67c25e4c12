/**
 * Published numbers, each read in a public text: `data/paper_tables.json`. Nothing here was measured by this project;
 * tables and charts show these numbers in a style of their own.
 *
 * @module
 */
import facts from "../../data/paper_tables.json" with { type: "json" };
import { type DepthMetrics, metricNames } from "./metrics.ts";
import type { Protocol } from "./protocol.ts";
import type { TruthKind } from "./truth.ts";

/** One line of a published table. */
export interface PublishedRow {
  /** The row's name in the ablation table, e.g. "HC", or the method's, e.g. "monodepth2 (S)". */
  readonly name: string;
  /** A part of the method, or what another method learns from ("stereo", "video", "depth"). */
  readonly meaning: string;
  /** null for numbers that nobody read in a source. Units as in {@linkcode DepthMetrics}. */
  readonly values: Readonly<Record<keyof DepthMetrics, number | null>>;
  /** What is in doubt. */
  readonly note?: string;
}

/** The published numbers and the protocol that all of them share. */
export interface PublishedTables {
  readonly protocol: Protocol & {
    readonly dataset: string;
    readonly split: string;
    readonly part: string;
    readonly truth: TruthKind;
  };
  /** The ablation table of Pilzer et al. 2019. */
  readonly refineAndDistill: readonly PublishedRow[];
  /** Other methods. */
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
