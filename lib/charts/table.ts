/**
 * Tables of results that keep measured and published numbers apart.
 *
 * @module
 */
import { styled, wrap } from "../base/terminal.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { escapeHtml } from "./svg.ts";

/** A cell with more than its value. */
export interface TableCell {
  /** null, undefined or NaN: unknown, shown as "—". */
  readonly value?: number | string | null;
  /** Standard deviation, in the value's unit; shown as "± …". */
  readonly deviation?: number | null;
  /** Digits after the point. @default the column's */
  readonly digits?: number;
  /** Where the number comes from. @default the row's */
  readonly standing?: "measured" | "published";
}

/** A column of numbers or strings. */
export interface TableColumn {
  readonly key: string;
  readonly label: string;
  /** Digits after the point. @default at most 4 significant digits */
  readonly digits?: number;
  /** Which values are better; the best measured one of each group is marked. @default none is */
  readonly better?: "lower" | "higher";
}

/** A row. */
export interface TableRow {
  readonly name: string;
  /** By the columns' keys; an absent one is unknown. */
  readonly cells: Readonly<Record<string, TableCell | TableCell["value"]>>;
  /** Where the numbers come from. @default "measured" */
  readonly standing?: "measured" | "published";
  /** Rows of one group stand together under its name and are compared only with each other. @default none */
  readonly group?: string;
}

/** What a {@linkcode Table} shows. */
export interface TableContent {
  readonly title?: string;
  /** Heading of the column of names. @default "" */
  readonly corner?: string;
  readonly columns: readonly TableColumn[];
  readonly rows: readonly TableRow[];
  readonly notes?: readonly string[];
}

/** The columns of the seven depth metrics, keyed as the evaluation names them. */
export const METRIC_COLUMNS: readonly TableColumn[] = [
  { key: "absRel", label: "abs rel", digits: 4, better: "lower" },
  { key: "sqRel", label: "sq rel m", digits: 3, better: "lower" },
  { key: "rmse", label: "RMSE m", digits: 3, better: "lower" },
  { key: "rmseLog", label: "RMSE log", digits: 4, better: "lower" },
  { key: "a1", label: "δ<1.25", digits: 3, better: "higher" },
  { key: "a2", label: "δ<1.25²", digits: 3, better: "higher" },
  { key: "a3", label: "δ<1.25³", digits: 3, better: "higher" },
];

/** Columns of the metrics that only some truths allow, keyed as the evaluation names them. */
export const EXTRA_COLUMNS: readonly TableColumn[] = [
  { key: "log10", label: "RMSE log10", digits: 4, better: "lower" },
  { key: "d1All", label: "D1-all", digits: 3, better: "lower" },
  { key: "epe", label: "EPE px", digits: 2, better: "lower" },
  { key: "edgeAccuracy", label: "edge accuracy px", digits: 2, better: "lower" },
  { key: "edgeCompleteness", label: "edge completeness px", digits: 2, better: "lower" },
  { key: "fScore", label: "F-score 0.1 m", digits: 3, better: "higher" },
  { key: "chamfer", label: "Chamfer m", digits: 3, better: "lower" },
];

const UNKNOWN = "—";
const PUBLISHED_NOTE = "† published by the authors, not measured here.";

/** A number as tables and captions show it; "—" for an unknown one. */
export function formatNumber(value: number | null | undefined, digits?: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (digits !== undefined) return value.toFixed(digits);
  return Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
}

/** A cell as it is printed. */
interface Shown {
  readonly text: string;
  readonly numeric: boolean;
  readonly published: boolean;
  readonly best: boolean;
}

/**
 * A table of results. The best measured number of each column and group is bold; published numbers are italic (dim on a
 * terminal), marked † and never the best; unknown ones are "—".
 *
 * @example
 * ```ts
 * import { METRIC_COLUMNS, Table } from "./table.ts";
 *
 * const rows = [{ name: "student", cells: { absRel: 0.146, a1: 0.812 } }];
 * console.log(new Table({ columns: METRIC_COLUMNS, rows }).text());
 * ```
 */
export class Table implements Displayable {
  /** Resolved cells by row and column. */
  readonly #shown: readonly (readonly Shown[])[];
  /** Whether a column's cells are all numbers or unknown. */
  readonly #numeric: readonly boolean[];

  /** Formats the cells and finds the best numbers. */
  constructor(readonly content: TableContent) {
    const { columns, rows } = content;
    const best = columns.map((column) => bestOf(column, rows));
    this.#shown = rows.map((row, r) =>
      columns.map((column, c) => {
        const { value, deviation, digits = column.digits, standing } = cellOf(row.cells[column.key]);
        const numeric = typeof value !== "string";
        let text = numeric ? formatNumber(value, digits) : value;
        if (typeof deviation === "number" && Number.isFinite(deviation)) {
          text += ` ± ${formatNumber(deviation, digits)}`;
        }
        const published = (standing ?? row.standing) === "published" && text !== UNKNOWN;
        return { text, numeric, published, best: best[c].has(r) };
      })
    );
    this.#numeric = columns.map((_, c) => this.#shown.every((row) => row[c].numeric));
  }

  /** Rows by their group, in the order of first appearance. */
  #groups(): { readonly name: string | undefined; readonly rows: readonly number[] }[] {
    const groups = Map.groupBy(this.content.rows.keys(), (r) => this.content.rows[r].group);
    return [...groups].map(([name, rows]) => ({ name, rows }));
  }

  #notes(): string[] {
    const published = this.#shown.some((row) => row.some((shown) => shown.published));
    return [...(this.content.notes ?? []), ...(published ? [PUBLISHED_NOTE] : [])];
  }

  /** GitHub-flavored Markdown. */
  markdown(): string {
    const { title, corner = "", columns, rows } = this.content;
    const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
    const cell = ({ text, published, best }: Shown) => {
      const plain = escapeMarkdown(text);
      return published ? `*${plain}* †` : best ? `**${plain}**` : plain;
    };
    const out = title ? [`**${escapeMarkdown(title)}**`, ""] : [];
    out.push(line([corner, ...columns.map(headingOf)].map(escapeMarkdown)));
    out.push(`|---|${this.#numeric.map((numeric) => numeric ? "---:|" : "---|").join("")}`);
    for (const group of this.#groups()) {
      if (group.name !== undefined) {
        out.push(line([`**${escapeMarkdown(group.name)}**`, ...columns.map(() => "")]));
      }
      for (const r of group.rows) {
        const name = escapeMarkdown(rows[r].name);
        const label = rows[r].standing === "published" ? `*${name}*` : name;
        out.push(line([label, ...this.#shown[r].map(cell)]));
      }
    }
    for (const note of this.#notes()) out.push("", escapeMarkdown(note));
    return out.join("\n") + "\n";
  }

  /** A LaTeX tabular with the rules of booktabs. */
  latex(): string {
    const { corner = "", columns, rows } = this.content;
    const line = (cells: readonly string[]) => `  ${cells.join(" & ")} \\\\`;
    const cell = ({ text, published, best }: Shown) => {
      const plain = escapeLatex(text);
      return published ? `\\textit{${plain}}$^\\dagger$` : best ? `\\textbf{${plain}}` : plain;
    };
    const out = [
      `\\begin{tabular}{l${this.#numeric.map((numeric) => numeric ? "r" : "l").join("")}}`,
      "  \\toprule",
      line([corner, ...columns.map(headingOf)].map(escapeLatex)),
    ];
    for (const group of this.#groups()) {
      out.push("  \\midrule");
      if (group.name !== undefined) {
        out.push(line([`\\multicolumn{${columns.length + 1}}{l}{${escapeLatex(group.name)}}`]));
      }
      for (const r of group.rows) out.push(line([escapeLatex(rows[r].name), ...this.#shown[r].map(cell)]));
    }
    out.push("  \\bottomrule", "\\end{tabular}", ...this.#notes().map((note) => `% ${note}`));
    return out.join("\n") + "\n";
  }

  /**
   * Comma-separated values for programs (RFC 4180): full numbers, empty where unknown, columns `group` and `standing`,
   * and a column `KEY_deviation` after each column that has deviations.
   */
  csv(): string {
    const { columns, rows } = this.content;
    const finite = (value: unknown) =>
      typeof value === "number" && !Number.isFinite(value) ? "" : value ?? "";
    const keys = columns.map(({ key }) => {
      const deviates = rows.some((row) => finite(cellOf(row.cells[key]).deviation) !== "");
      return { key, parts: deviates ? ["value", "deviation"] as const : ["value"] as const };
    });
    const head = keys.flatMap(({ key, parts }) =>
      parts.map((part) => part === "value" ? key : `${key}_${part}`)
    );
    const lines = rows.map((row, r) => {
      const standing = row.standing ??
        (this.#shown[r].some((shown) => shown.published) ? "mixed" : "measured");
      const values = keys.flatMap(({ key, parts }) =>
        parts.map((part) => finite(cellOf(row.cells[key])[part]))
      );
      return [row.name, row.group ?? "", standing, ...values];
    });
    const quote = (text: string) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    return [["name", "group", "standing", ...head], ...lines]
      .map((line) => line.map((value) => quote(String(value))).join(",") + "\n").join("");
  }

  /** An HTML `<table>` in a `<figure>`; needs no style sheet, inherits the page's colors, scrolls where it is too wide. */
  html(): string {
    const { title, corner = "", columns, rows } = this.content;
    const line = "border-bottom:1px solid rgba(128,128,128,.25)";
    const heavy = "border-bottom:2px solid rgba(128,128,128,.5)";
    const align = (c: number) => `text-align:${c >= 0 && this.#numeric[c] ? "right" : "left"}`;
    const faded = (text: string, published: boolean) =>
      text === UNKNOWN ? ";opacity:.5" : published ? ";opacity:.72" : "";
    const element = (tag: string, content: string, style: string) =>
      `<${tag} style="padding:.3em .7em;${style}">${content}</${tag.split(" ")[0]}>`;
    const heads = [corner, ...columns.map(headingOf)].map((text, i) =>
      element('th scope="col"', escapeHtml(text), `${align(i - 1)};${heavy}`)
    );
    const row = (r: number) => {
      const { name, standing = "measured" } = rows[r], published = standing === "published";
      const label = published ? `<em>${escapeHtml(name)}</em>` : escapeHtml(name);
      const style = `${align(-1)};font-weight:normal;white-space:nowrap;${line}${faded("", published)}`;
      const cells = this.#shown[r].map(({ text, published, best }, c) => {
        const plain = escapeHtml(text);
        const content = published
          ? `<em>${plain}</em><sup>†</sup>`
          : best
          ? `<strong>${plain}</strong>`
          : plain;
        return element("td", content, `${align(c)};white-space:nowrap;${line}${faded(text, published)}`);
      });
      return `<tr class="${standing}">${element('th scope="row"', label, style)}${cells.join("")}</tr>`;
    };
    const groupHead = (name: string) => {
      const tag = `th scope="rowgroup" colspan="${columns.length + 1}"`;
      return `<tr>${element(tag, escapeHtml(name), `${align(-1)};padding-top:.8em;${line}`)}</tr>`;
    };
    const body = this.#groups().flatMap(({ name, rows }) => [
      ...(name === undefined ? [] : [groupHead(name)]),
      ...rows.map(row),
    ]);
    const caption = title &&
      `<caption style="text-align:left;font-weight:600;padding:.3em 0">${escapeHtml(title)}</caption>`;
    const notes = this.#notes().map((note) => `<div>${escapeHtml(note)}</div>`).join("");
    return [
      '<figure class="table" style="margin:1em 0;overflow-x:auto">',
      `<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">${caption ?? ""}`,
      `<thead><tr>${heads.join("")}</tr></thead>`,
      `<tbody>\n${body.join("\n")}\n</tbody></table>`,
      ...(notes
        ? [`<figcaption style="font-size:.85em;opacity:.75;padding-top:.4em">${notes}</figcaption>`]
        : []),
      "</figure>",
    ].join("\n");
  }

  /**
   * Aligned columns for a terminal; the best measured value of a column carries a star. Columns that do not fit beside
   * each other follow below, under the same names.
   *
   * @param width Columns of the terminal. @default unlimited
   */
  text(width = Infinity): string {
    const { title, corner = "", columns, rows } = this.content;
    const starred = columns.map((_, c) => this.#shown.some((row) => row[c].best || row[c].published));
    const plain = this.#shown.map((row) =>
      row.map(({ text, best, published }, c) =>
        `${text}${published ? "†" : best ? "*" : starred[c] ? " " : ""}`
      )
    );
    const first = Math.max(corner.length, ...rows.map(({ name }) => name.length));
    const widths = columns.map(({ label }, c) =>
      Math.max(label.length, ...plain.map((row) => row[c].length))
    );
    const pad = (text: string, c: number) =>
      this.#numeric[c] ? text.padStart(widths[c]) : text.padEnd(widths[c]);
    const blocks: number[][] = [];
    let room = 0;
    for (const c of columns.keys()) {
      if (room < widths[c] + 2 || blocks.length === 0) blocks.push([]), room = width - first;
      blocks.at(-1)!.push(c);
      room -= widths[c] + 2;
    }
    const out = title ? [styled("bold", title)] : [];
    blocks.forEach((block, b) => {
      if (b > 0) out.push("");
      const heads = block.map((c) => pad(columns[c].label, c));
      out.push([corner.padEnd(first), ...heads].join("  ").trimEnd());
      for (const group of this.#groups()) {
        if (group.name !== undefined) out.push(styled("bold", group.name));
        for (const r of group.rows) {
          const cells = block.map((c) => {
            const { published, best } = this.#shown[r][c], text = pad(plain[r][c], c);
            return published ? styled("dim", text) : best ? styled("bold", text) : text;
          });
          const name = rows[r].name.padEnd(first);
          out.push(
            [rows[r].standing === "published" ? styled("dim", name) : name, ...cells].join("  ").trimEnd(),
          );
        }
      }
    });
    const best = this.#shown.some((row) => row.some((shown) => shown.best));
    for (const note of [...(best ? ["* best measured value of its column"] : []), ...this.#notes()]) {
      out.push(...wrap(note, width).map((line) => styled("dim", line)));
    }
    return out.join("\n");
  }

  /** HTML, Markdown and plain text. */
  [JUPYTER_DISPLAY](): MimeBundle {
    return { "text/html": this.html(), "text/markdown": this.markdown(), "text/plain": this.text() };
  }
}

/** A heading with an arrow towards the better values, where there are such. */
function headingOf({ label, better }: TableColumn): string {
  return better ? `${label} ${better === "lower" ? "↓" : "↑"}` : label;
}

/** Escapes a text for Markdown, tables included. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_[\]<>|]/g, "\\$&").replace(/\s*\n\s*/g, " ");
}

/** Escapes a text for LaTeX, with the signs of our headings as math. */
function escapeLatex(text: string): string {
  const signs: Readonly<Record<string, string>> = {
    "δ": "$\\delta$",
    "²": "$^2$",
    "³": "$^3$",
    "±": "$\\pm$",
    "×": "$\\times$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "<": "$<$",
    ">": "$>$",
    "—": "---",
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
  };
  return text.replace(/[#$%&_{}δ²³±×↓↑<>—~^\\]/g, (sign) => signs[sign] ?? `\\${sign}`);
}

function cellOf(value: TableRow["cells"][string]): TableCell {
  return typeof value === "object" && value !== null ? value : { value };
}

/** Rows with the best measured value of a column within their group, where at least two are compared. */
function bestOf({ key, better, digits = 6 }: TableColumn, rows: readonly TableRow[]): Set<number> {
  const best = new Set<number>();
  if (!better) return best;
  for (const group of Map.groupBy(rows.keys(), (r) => rows[r].group).values()) {
    const entries = group.flatMap((r) => {
      const { value, standing = rows[r].standing } = cellOf(rows[r].cells[key]);
      // Compared as they are printed: values that look equal share the place.
      const known = standing !== "published" && typeof value === "number" && Number.isFinite(value);
      return known ? [{ r, value: Number(value.toFixed(digits)) }] : [];
    });
    if (entries.length < 2) continue;
    const values = entries.map(({ value }) => value);
    const winner = better === "lower" ? Math.min(...values) : Math.max(...values);
    for (const { r, value } of entries) if (value === winner) best.add(r);
  }
  return best;
}
