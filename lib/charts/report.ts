/**
 * The results of a run as one self-contained HTML file.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { Chart } from "./chart.ts";
import { Picture } from "./picture.ts";
import { escapeHtml } from "./svg.ts";

/**
 * What a section can hold: a paragraph (`code` between backticks is set as such), facts by name (null: unknown, shown
 * as —), code, charts of at most 480 px beside each other where there is room, or an object that renders itself as HTML
 * without loading anything.
 */
export type ReportBlock =
  | string
  | Picture
  | Chart
  | { readonly facts: Readonly<Record<string, string | number | boolean | null | undefined>> }
  | { readonly code: string }
  | { readonly charts: readonly Chart[] }
  | Gallery
  | { html(): string | Promise<string> };

/** Pictures in columns, two on a phone, so that each stays large enough to see. */
export interface Gallery {
  /** Each with what it shows below it. */
  readonly gallery: readonly { readonly caption: string; readonly picture: Picture }[];
  /** How many stand beside each other. */
  readonly columns: number;
}

/** A report, from top to bottom. */
export interface Report {
  /** Above the title, small: date, run, commit. */
  readonly kicker?: string;
  readonly title: string;
  /** The result in a sentence or two, in large type. */
  readonly summary?: string;
  readonly sections: readonly {
    readonly heading: string;
    readonly blocks: readonly ReportBlock[];
    /** Closed until it is clicked. @default false */
    readonly folded?: boolean;
  }[];
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2028; --soft: #5c6370; --paper: #fff; --card: #f5f6f8; --line: #dfe2e7; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --soft: #9aa2b0; --paper: #15181d; --card: #1e2229; --line: #323843; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .8rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { margin: .6rem 0; max-width: 46rem; }
.kicker { color: var(--soft); font-size: .85rem; margin: 0 0 .4rem; }
.summary { font-size: 1.15rem; line-height: 1.5; padding: .9rem 1.1rem; background: var(--card); border-left: 4px solid var(--accent); border-radius: 4px; max-width: none; }
figure { margin: 1rem 0; }
figure.picture { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 4px; width: fit-content; max-width: 100%; }
figure.picture, figure.chart, figure.table { overflow-x: auto; }
figure.picture img { display: block; max-width: 100%; height: auto; }
figure.chart svg { max-width: 100%; height: auto; }
figure.table { font-size: .92rem; }
.charts { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.gallery { display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); gap: .7rem .5rem; margin: 1rem 0; }
.gallery figure { margin: 0; }
.gallery img { display: block; width: 100%; border-radius: 3px; }
.gallery figcaption { font-size: .8rem; line-height: 1.35; color: var(--soft); padding-top: .15rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .92rem; margin: .8rem 0; }
dt { color: var(--soft); }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
code, pre { font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--card); border-radius: 4px; }
code { padding: .1em .35em; }
pre { padding: .8rem 1rem; overflow-x: auto; }
details > summary { cursor: pointer; font-size: 1.25rem; font-weight: 600; margin: 2.6rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media (max-width: 720px) {
  main { padding: 1.5rem .8rem 3rem; }
  /* Too small to read when shrunk to a phone: these scroll sideways instead. */
  figure.picture img, main > section > figure.chart svg { max-width: none !important; width: 760px; }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  figure.table th, figure.table td { padding: .3em .35em !important; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  figure.table th[scope="row"] { position: sticky; left: 0; background: var(--paper); opacity: 1 !important; }
}
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --card: #f5f6f8; --line: #ccc; }
  body { font-size: 11pt; } main { padding: 0; max-width: none; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
}
`;

/** A report as HTML. */
export async function reportHtml(report: Report): Promise<string> {
  const sections = await Promise.all(report.sections.map(async (section) => {
    const blocks = (await Promise.all(section.blocks.map(blockHtml))).join("\n");
    const heading = escapeHtml(section.heading);
    return section.folded
      ? `<details><summary>${heading}</summary>\n${blocks}\n</details>`
      : `<section><h2>${heading}</h2>\n${blocks}\n</section>`;
  }));
  const optional = (name: string, text?: string) => text ? `<p class="${name}">${inline(text)}</p>\n` : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(report.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${optional("kicker", report.kicker)}<h1>${escapeHtml(report.title)}</h1>
${optional("summary", report.summary)}${sections.join("\n")}
</main>
</body>
</html>
`;
}

/**
 * Writes a report as one self-contained HTML file.
 *
 * @throws {CyclopsError} When it cannot be written.
 *
 * @example
 * ```ts ignore
 * await writeReport("runs/quickstart/report.html", {
 *   title: "Quickstart",
 *   summary: "The student's abs rel is 57 % below the train-set mean's.",
 *   sections: [{ heading: "Result", blocks: [table, panel, curves] }],
 * });
 * ```
 */
export async function writeReport(path: string, report: Report): Promise<void> {
  await writeAtomic(path, await reportHtml(report));
}

async function blockHtml(block: ReportBlock): Promise<string> {
  if (typeof block === "string") return `<p>${inline(block)}</p>`;
  if (block instanceof Picture) return `<figure class="picture">${await block.html()}</figure>`;
  if (block instanceof Chart) {
    const svg = await block.svg({ inherit: true });
    // Inline SVG in HTML needs no namespace.
    return `<figure class="chart">${svg.replace(/ xmlns(?::\w+)?="[^"]*"/g, "")}</figure>`;
  }
  if ("charts" in block) {
    return `<div class="charts">${(await Promise.all(block.charts.map(blockHtml))).join("\n")}</div>`;
  }
  if ("gallery" in block) {
    const figures = block.gallery.map(async ({ caption, picture }) =>
      `<figure>${await picture.html()}<figcaption>${inline(caption)}</figcaption></figure>`
    );
    return `<div class="gallery" style="--columns:${block.columns}">${
      (await Promise.all(figures)).join("\n")
    }</div>`;
  }
  if ("facts" in block) {
    const rows = Object.entries(block.facts)
      .map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value ?? "—"))}</dd>`);
    return `<dl>${rows.join("")}</dl>`;
  }
  if ("code" in block) return `<pre>${escapeHtml(block.code)}</pre>`;
  return await block.html();
}

/** A paragraph's text: escaped, with `code` between backticks. */
function inline(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}
