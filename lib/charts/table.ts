/**
 * Tables of results that keep measured and published numbers apart, in every format they are read in.
 *
 * @module
 */
import { styled } from "../base/terminal.ts";
import { type Displayable, escapeHtml, escapeMarkdown, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";

/** Where a number comes from: from a run of this program, or from somebody's publication. */
export type Standing = "measured" | "published";

/** How sure a published number is: seen in print, in part, or known from memory. */
export type Confidence = "confirmed" | "partial" | "recalled";

/** What stands for a value that was not measured. */
export const UNMEASURED = "—";

/** A cell with more than its value. */
export interface TableCell {
  /** null, undefined or NaN: not measured. */
  readonly value?: number | string | null;
  /** Standard deviation, in the value's unit; shown as "± …". */
  readonly deviation?: number | null;
  /** Digits after the point, e.g. as many as were published. @default the column's */
  readonly digits?: number;
  /** Where the number comes from. @default the row's */
  readonly standing?: Standing;
  /** Of a published number. @default the row's */
  readonly confidence?: Confidence;
}

/** What a table can hold: a number, a text, nothing, or a {@linkcode TableCell}. */
export type CellValue = number | string | null | undefined | TableCell;

/** A column of numbers or texts. */
export interface TableColumn {
  /** Key of the cells in a row. */
  readonly key: string;
  /** Heading, with its unit. */
  readonly label: string;
  /** Heading in LaTeX. @default the label, escaped */
  readonly latex?: string;
  /** Digits after the point. @default numbers as they are, at most 4 significant digits */
  readonly digits?: number;
  /** Which values are better; the best measured one of each group is marked. @default none is */
  readonly better?: "lower" | "higher";
}

/** A row. */
export interface TableRow {
  /** In the first column. */
  readonly name: string;
  /** By the columns' keys; an absent one was not measured. */
  readonly cells: Readonly<Record<string, CellValue>>;
  /** Where the row's numbers come from. @default "measured" */
  readonly standing?: Standing;
  /** Of a published row. @default "confirmed" */
  readonly confidence?: Confidence;
  /** Rows of one group stand together under its name and are compared with each other alone. @default none */
  readonly group?: string;
  /** Left out when the best is looked for, e.g. a teacher that ships nothing. @default false */
  readonly unranked?: boolean;
}

/** What a {@linkcode Table} shows. */
export interface TableContent {
  /** Above the table. */
  readonly title?: string;
  /** Heading of the column of names. @default "" */
  readonly corner?: string;
  /** From left to right, after the names. */
  readonly columns: readonly TableColumn[];
  /** From top to bottom. */
  readonly rows: readonly TableRow[];
  /** Paragraphs under the table. */
  readonly notes?: readonly string[];
}

/** The columns of the seven depth metrics, keyed as the evaluation names them. */
export const METRIC_COLUMNS: readonly TableColumn[] = [
  { key: "absRel", label: "abs rel ↓", latex: "Abs Rel $\\downarrow$", digits: 4, better: "lower" },
  { key: "sqRel", label: "sq rel m ↓", latex: "Sq Rel (m) $\\downarrow$", digits: 3, better: "lower" },
  { key: "rmse", label: "RMSE m ↓", latex: "RMSE (m) $\\downarrow$", digits: 3, better: "lower" },
  { key: "rmseLog", label: "RMSE log ↓", latex: "RMSE log $\\downarrow$", digits: 4, better: "lower" },
  { key: "a1", label: "δ<1.25 ↑", latex: "$\\delta<1.25$ $\\uparrow$", digits: 3, better: "higher" },
  { key: "a2", label: "δ<1.25² ↑", latex: "$\\delta<1.25^2$ $\\uparrow$", digits: 3, better: "higher" },
  { key: "a3", label: "δ<1.25³ ↑", latex: "$\\delta<1.25^3$ $\\uparrow$", digits: 3, better: "higher" },
];

/** A number as tables and captions show it; "—" for what was not measured. */
export function formatNumber(value: number | null | undefined, digits?: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNMEASURED;
  if (digits !== undefined) return value.toFixed(digits);
  return Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
}

/** Metrics as one line for a caption: "abs rel 0.1467 · RMSE 5.830 m · δ<1.25 0.812"; absent ones are left out. */
export function metricsCaption(
  metrics: Readonly<Record<string, unknown>>,
  keys: readonly string[] = ["absRel", "rmse", "a1"],
): string {
  const names: Readonly<Record<string, readonly [string, string]>> = {
    absRel: ["abs rel", ""],
    sqRel: ["sq rel", " m"],
    rmse: ["RMSE", " m"],
    rmseLog: ["RMSE log", ""],
    a1: ["δ<1.25", ""],
    a2: ["δ<1.25²", ""],
    a3: ["δ<1.25³", ""],
  };
  return keys.flatMap((key) => {
    const value = metrics[key];
    if (typeof value !== "number" || !Number.isFinite(value)) return [];
    const [name, unit] = names[key] ?? [key, ""];
    const digits = METRIC_COLUMNS.find((column) => column.key === key)?.digits;
    return [`${name} ${formatNumber(value, digits)}${unit}`];
  }).join(" · ");
}

/** A cell, resolved: what is printed and how it stands. */
interface Shown {
  readonly text: string;
  readonly numeric: boolean;
  readonly standing: Standing;
  readonly confidence: Confidence;
  readonly best: boolean;
}

/** Marks behind published numbers; the legend explains those that occur. */
const MARKS: Readonly<Record<Confidence, string>> = { confirmed: "†", partial: "‡", recalled: "?" };
const MARK_MEANINGS: Readonly<Record<Confidence, string>> = {
  confirmed: "published by the authors, not measured here",
  partial: "published, only in part checked against the paper",
  recalled: "published, quoted from memory, to be checked before anyone relies on it",
};

/**
 * A table of results. Measured numbers are upright, the best of each column and group bold; published ones are
 * italic (grey on a terminal) and carry a mark that says how sure they are; what was not measured is "—".
 *
 * @example
 * ```ts
 * import { METRIC_COLUMNS, Table } from "./table.ts";
 *
 * const table = new Table({
 *   columns: METRIC_COLUMNS,
 *   rows: [
 *     { name: "train-set mean", cells: { absRel: 0.343 } },
 *     { name: "student", cells: { absRel: { value: 0.146, deviation: 0.003 } } },
 *     { name: "HC, paper", standing: "published", cells: { absRel: 0.1487 } },
 *   ],
 * });
 * console.log(table.text());
 * ```
 */
export class Table implements Displayable {
  /** What the table was made of. */
  readonly content: TableContent;
  readonly #shown: readonly (readonly Shown[])[];

  /** Looks for the best values at once. */
  constructor(content: TableContent) {
    this.content = content;
    const best = content.columns.map((column) => bestOf(column, content.rows));
    this.#shown = content.rows.map((row, r) =>
      content.columns.map((column, c) => {
        const cell = cellOf(row.cells[column.key]);
        const numeric = typeof cell.value === "number" || cell.value === null || cell.value === undefined;
        const digits = cell.digits ?? column.digits;
        let text = typeof cell.value === "string" ? cell.value : formatNumber(cell.value, digits);
        if (text !== UNMEASURED && typeof cell.deviation === "number" && Number.isFinite(cell.deviation)) {
          text += ` ± ${formatNumber(cell.deviation, digits)}`;
        }
        return {
          text,
          numeric,
          standing: cell.standing ?? row.standing ?? "measured",
          confidence: cell.confidence ?? row.confidence ?? "confirmed",
          best: best[c].has(r),
        };
      })
    );
  }

  /** Rows by group, in the order of their first appearance. */
  #groups(): { readonly name: string | undefined; readonly rows: readonly number[] }[] {
    const groups = new Map<string | undefined, number[]>();
    this.content.rows.forEach((row, r) => {
      const rows = groups.get(row.group) ?? [];
      rows.push(r);
      groups.set(row.group, rows);
    });
    return [...groups].map(([name, rows]) => ({ name, rows }));
  }

  /** Notes, and what the marks in the table mean. */
  #notes(): string[] {
    const used = new Set(
      this.#shown.flat().filter((s) => s.standing === "published" && s.text !== UNMEASURED).map((s) =>
        s.confidence
      ),
    );
    const marks = (Object.keys(MARKS) as Confidence[]).filter((c) => used.has(c))
      .map((c) => `${MARKS[c]} ${MARK_MEANINGS[c]}.`);
    return [...(this.content.notes ?? []), ...marks];
  }

  /** The texts of a row's cells with marks, styled by a renderer. */
  #cells(r: number, style: (text: string, shown: Shown) => string): string[] {
    return this.#shown[r].map((shown) => style(shown.text, shown));
  }

  /** GitHub-flavoured Markdown. */
  markdown(): string {
    const { title, corner = "", columns, rows } = this.content;
    const style = (text: string, shown: Shown) => {
      const plain = escapeMarkdown(text);
      if (text === UNMEASURED) return plain;
      if (shown.standing === "published") return `*${plain}* ${MARKS[shown.confidence]}`;
      return shown.best ? `**${plain}**` : plain;
    };
    const out = title ? [`**${escapeMarkdown(title)}**`, ""] : [];
    out.push(`| ${[corner, ...columns.map((c) => c.label)].map(escapeMarkdown).join(" | ")} |`);
    out.push(
      `|---|${columns.map((_, c) => this.#shown.every((row) => row[c].numeric) ? "---:|" : "---|").join("")}`,
    );
    for (const group of this.#groups()) {
      if (group.name !== undefined) {
        out.push(`| **${escapeMarkdown(group.name)}** |${" |".repeat(columns.length)}`);
      }
      for (const r of group.rows) {
        const name = escapeMarkdown(rows[r].name);
        const label = rows[r].standing === "published" ? `*${name}*` : name;
        out.push(`| ${[label, ...this.#cells(r, style)].join(" | ")} |`);
      }
    }
    for (const note of this.#notes()) out.push("", escapeMarkdown(note));
    return out.join("\n") + "\n";
  }

  /** A LaTeX `tabular` with booktabs rules. */
  latex(): string {
    const { title, corner = "", columns, rows } = this.content;
    const style = (text: string, shown: Shown) => {
      const plain = text === UNMEASURED ? "---" : escapeLatex(text);
      if (text === UNMEASURED) return plain;
      if (shown.standing === "published") return `\\textit{${plain}}${LATEX_MARKS[shown.confidence]}`;
      return shown.best ? `\\textbf{${plain}}` : plain;
    };
    const align = columns.map((_, c) => this.#shown.every((row) => row[c].numeric) ? "r" : "l").join("");
    const out = title ? [`% ${title.replaceAll("\n", " ")}`] : [];
    out.push(`\\begin{tabular}{l${align}}`, "\\toprule");
    out.push(
      `${[escapeLatex(corner), ...columns.map((c) => c.latex ?? escapeLatex(c.label))].join(" & ")} \\\\`,
    );
    for (const group of this.#groups()) {
      out.push("\\midrule");
      if (group.name !== undefined) {
        out.push(`\\multicolumn{${columns.length + 1}}{l}{\\textbf{${escapeLatex(group.name)}}} \\\\`);
      }
      for (const r of group.rows) {
        const name = escapeLatex(rows[r].name);
        const label = rows[r].standing === "published" ? `\\textit{${name}}` : name;
        out.push(`${[label, ...this.#cells(r, style)].join(" & ")} \\\\`);
      }
    }
    out.push("\\bottomrule", "\\end{tabular}");
    for (const note of this.#notes()) out.push(`% ${note.replaceAll("\n", " ")}`);
    return out.join("\n") + "\n";
  }

  /**
   * Comma-separated values for programs (RFC 4180): full numbers, empty where not measured, columns `group`,
   * `standing` and `confidence`, and a column `KEY_deviation` behind each column that has one.
   */
  csv(): string {
    const { columns, rows } = this.content;
    const deviations = new Set(
      columns.filter(({ key }) => rows.some((row) => deviationOf(row.cells[key]) !== ""))
        .map(({ key }) => key),
    );
    const head = ["name", "group", "standing", "confidence"];
    for (const { key } of columns) head.push(key, ...(deviations.has(key) ? [`${key}_deviation`] : []));
    const lines = [head];
    rows.forEach((row, r) => {
      const standings = [...new Set(this.#shown[r].map((shown) => shown.standing))].join(" and ");
      const confidence = [
        ...new Set(
          this.#shown[r].filter((s) => s.standing === "published").map((s) => s.confidence),
        ),
      ].join(" and ");
      const line = [row.name, row.group ?? "", standings, confidence];
      for (const { key } of columns) {
        const { value } = cellOf(row.cells[key]);
        line.push(typeof value === "number" && !Number.isFinite(value) ? "" : String(value ?? ""));
        if (deviations.has(key)) line.push(deviationOf(row.cells[key]));
      }
      lines.push(line);
    });
    const quote = (text: string) => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    return lines.map((line) => line.map(quote).join(",") + "\n").join("");
  }

  /** An HTML `<table>` in a `<figure>`; looks right without any style sheet, takes the page's colours. */
  html(): string {
    const { title, corner = "", columns, rows } = this.content;
    const line = "border-bottom:1px solid rgba(128,128,128,.25)";
    const pad = "padding:.3em .7em";
    const style = (text: string, shown: Shown) => {
      const align = shown.numeric ? "right" : "left";
      let inner = escapeHtml(text);
      let color = "";
      if (text === UNMEASURED) color = ";opacity:.5";
      else if (shown.standing === "published") {
        inner = `<em>${inner}</em><sup>${MARKS[shown.confidence]}</sup>`;
        color = ";opacity:.72";
      } else if (shown.best) inner = `<strong>${inner}</strong>`;
      return `<td style="text-align:${align};white-space:nowrap;${pad};${line}${color}">${inner}</td>`;
    };
    const out = ['<figure class="table" style="margin:1em 0;overflow-x:auto">'];
    out.push('<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">');
    if (title) {
      out.push(
        `<caption style="text-align:left;font-weight:600;padding:.3em 0">${escapeHtml(title)}</caption>`,
      );
    }
    const heads = columns.map((column, c) => {
      const align = this.#shown.every((row) => row[c].numeric) ? "right" : "left";
      return `<th scope="col" style="text-align:${align};${pad};border-bottom:2px solid rgba(128,128,128,.5)">` +
        `${escapeHtml(column.label)}</th>`;
    });
    out.push(
      `<thead><tr><th scope="col" style="text-align:left;${pad};border-bottom:2px solid rgba(128,128,128,.5)">` +
        `${escapeHtml(corner)}</th>${heads.join("")}</tr></thead>`,
      "<tbody>",
    );
    for (const group of this.#groups()) {
      if (group.name !== undefined) {
        out.push(
          `<tr><th scope="rowgroup" colspan="${
            columns.length + 1
          }" style="text-align:left;padding:.8em .7em .3em;${line}">` +
            `${escapeHtml(group.name)}</th></tr>`,
        );
      }
      for (const r of group.rows) {
        const published = rows[r].standing === "published";
        const name = published ? `<em>${escapeHtml(rows[r].name)}</em>` : escapeHtml(rows[r].name);
        out.push(
          `<tr class="${
            published ? "published" : "measured"
          }"><th scope="row" style="text-align:left;font-weight:normal;` +
            `${pad};${line}${published ? ";opacity:.72" : ""}">${name}</th>${
              this.#cells(r, style).join("")
            }</tr>`,
        );
      }
    }
    out.push("</tbody></table>");
    const notes = this.#notes();
    if (notes.length) {
      const text = notes.map((note) => `<div>${escapeHtml(note)}</div>`).join("");
      out.push(`<figcaption style="font-size:.85em;opacity:.75;padding-top:.4em">${text}</figcaption>`);
    }
    out.push("</figure>");
    return out.join("\n");
  }

  /** Aligned columns for a terminal; the best measured value of a column carries a star, colours are @std's. */
  text(): string {
    const { title, corner = "", columns, rows } = this.content;
    const plain = this.#shown.map((row) =>
      row.map((shown) => {
        if (shown.text === UNMEASURED) return `${UNMEASURED} `;
        if (shown.standing === "published") return `${shown.text}${MARKS[shown.confidence]}`;
        return `${shown.text}${shown.best ? "*" : " "}`;
      })
    );
    const first = Math.max(corner.length, ...rows.map((row) => row.name.length));
    const widths = columns.map((column, c) =>
      Math.max(column.label.length + 1, ...plain.map((row) => [...row[c]].length))
    );
    const pad = (text: string, c: number) =>
      this.#shown.every((row) => row[c].numeric) ? text.padStart(widths[c]) : text.padEnd(widths[c]);
    const out = title ? [styled("bold", title)] : [];
    out.push(
      [corner.padEnd(first), ...columns.map((column, c) => pad(`${column.label} `, c))].join("  ").trimEnd(),
    );
    for (const group of this.#groups()) {
      if (group.name !== undefined) out.push(styled("bold", group.name));
      for (const r of group.rows) {
        const published = rows[r].standing === "published";
        const cells = plain[r].map((text, c) => {
          const shown = this.#shown[r][c];
          const padded = pad(text, c);
          return shown.standing === "published"
            ? styled("dim", padded)
            : shown.best
            ? styled("bold", padded)
            : padded;
        });
        const name = rows[r].name.padEnd(first);
        out.push([published ? styled("dim", name) : name, ...cells].join("  ").trimEnd());
      }
    }
    if (this.#shown.flat().some((shown) => shown.best)) {
      out.push(styled("dim", "* best measured value of its column"));
    }
    for (const note of this.#notes()) out.push(styled("dim", note));
    return out.join("\n");
  }

  /** HTML, Markdown and plain text, for a notebook. */
  [JUPYTER_DISPLAY](): MimeBundle {
    return { "text/html": this.html(), "text/markdown": this.markdown(), "text/plain": this.text() };
  }
}

const LATEX_MARKS: Readonly<Record<Confidence, string>> = {
  confirmed: "$^\\dagger$",
  partial: "$^\\ddagger$",
  recalled: "$^?$",
};

function cellOf(value: CellValue): TableCell {
  return typeof value === "object" && value !== null ? value : { value };
}

function deviationOf(value: CellValue): string {
  const { deviation } = cellOf(value);
  return typeof deviation === "number" && Number.isFinite(deviation) ? String(deviation) : "";
}

/** Rows with the best measured value of a column within their group, where at least two are compared. */
function bestOf(column: TableColumn, rows: readonly TableRow[]): Set<number> {
  const best = new Set<number>();
  if (!column.better) return best;
  for (const group of new Set(rows.map((row) => row.group))) {
    const entries = rows.flatMap((row, r) => {
      const cell = cellOf(row.cells[column.key]);
      const measured = (cell.standing ?? row.standing ?? "measured") === "measured";
      if (row.group !== group || row.unranked || !measured) return [];
      // Compared as they are printed: what looks equal shares the place.
      return typeof cell.value === "number" && Number.isFinite(cell.value)
        ? [{ r, value: Number(cell.value.toFixed(column.digits ?? 6)) }]
        : [];
    });
    if (entries.length < 2) continue;
    const values = entries.map(({ value }) => value);
    const winner = column.better === "lower" ? Math.min(...values) : Math.max(...values);
    for (const { r, value } of entries) if (value === winner) best.add(r);
  }
  return best;
}

function escapeLatex(text: string): string {
  const special: Readonly<Record<string, string>> = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "↓": "$\\downarrow$",
    "↑": "$\\uparrow$",
    "→": "$\\rightarrow$",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "δ": "$\\delta$",
    "<": "$<$",
    ">": "$>$",
    "²": "$^2$",
    "³": "$^3$",
    "—": "---",
  };
  return text.replace(/[\\~^±↓↑→×·δ<>²³—]/g, (c) => special[c]).replace(/(?<!\\)[&%#_]/g, (c) => `\\${c}`);
}
