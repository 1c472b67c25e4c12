/**
 * A Vega-Lite chart: it shows itself in a notebook, live and as a still picture, and writes SVG and PNG files.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";
import { writeAtomic } from "../base/files.ts";
import { rasterizeSvg } from "../data/image.ts";
import { type Displayable, escapeHtml, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { fitText, textStrokes, textWidth } from "./font.ts";

/** A Vega-Lite specification, without `$schema` and `config`, which {@linkcode Chart} adds. */
export type VegaLiteSpec = Readonly<Record<string, unknown>>;

/** Dark ink of all chart texts and axes; an SVG may take the page's own colour for it. */
const INK = "#1c2028";
const FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif";

/** Colours that people with any colour vision tell apart (Okabe and Ito, 2008), the darkest first. */
export const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"] as const;

/** One look for all charts. */
const THEME = {
  background: "white",
  font: FONT,
  padding: 8,
  view: { stroke: null },
  axis: {
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
    labelColor: INK,
    titleColor: INK,
    labelOpacity: 0.75,
    domainColor: INK,
    domainOpacity: 0.35,
    tickColor: INK,
    tickOpacity: 0.35,
    tickSize: 4,
    gridColor: INK,
    gridOpacity: 0.1,
    labelPadding: 4,
    titlePadding: 8,
    labelOverlap: "greedy",
  },
  legend: {
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
    labelColor: INK,
    titleColor: INK,
    symbolStrokeWidth: 2.5,
    symbolSize: 110,
    labelLimit: 240,
    rowPadding: 4,
  },
  header: {
    labelFontSize: 12,
    labelColor: INK,
    titleColor: INK,
    titleFontSize: 12,
    titleFontWeight: "normal",
  },
  title: {
    fontSize: 15,
    fontWeight: 600,
    color: INK,
    anchor: "start",
    frame: "group",
    offset: 12,
    subtitleFontSize: 12,
    subtitleColor: INK,
    subtitlePadding: 4,
  },
  text: { color: INK, fontSize: 12 },
  rule: { color: INK },
  range: { category: PALETTE },
};

let drawn: Promise<void> = Promise.resolve();

/** How an SVG is written. */
export interface SvgOptions {
  /** Text and axes take the colour of the page around them, the background is left out. @default false */
  readonly inherit?: boolean;
  /** Letters as strokes instead of text, for machines without fonts. @default false */
  readonly strokes?: boolean;
}

/**
 * A chart, described by Vega-Lite.
 *
 * @example
 * ```ts ignore
 * const chart = new Chart({ data: { values: [{ x: 1, y: 2 }] }, mark: "point", encoding: {} }, "One point");
 * await chart.writeSvg("point.svg"); // or, in a notebook, end a cell with `chart`
 * ```
 */
export class Chart implements Displayable {
  /** The whole specification, theme included. */
  readonly spec: VegaLiteSpec;
  /** What the chart shows, in words: its plain-text form. */
  readonly title: string;

  /** Adds the theme to a specification without `$schema` and `config`; `title` says in words what it shows. */
  constructor(spec: VegaLiteSpec, title: string) {
    this.title = title;
    this.spec = { $schema: "https://vega.github.io/schema/vega-lite/v5.json", ...spec, config: THEME };
  }

  /**
   * The chart as SVG, the same text for the same specification.
   *
   * @throws {CyclopsError} When the specification is none.
   */
  async svg(options: SvgOptions = {}): Promise<string> {
    // Vega's text measure and its counter of names are global: one chart at a time.
    const drawing = drawn.then(() => this.#draw(options));
    drawn = drawing.then(() => {}, () => {});
    return finishSvg(await drawing, this.title, options);
  }

  async #draw(options: SvgOptions): Promise<string> {
    const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
    // Without a canvas Vega guesses the width of texts at 0.8 em a letter, twice too wide. Some systems' fonts run
    // wider than our letters: they get more room.
    const { textMetrics } = vega as unknown as { textMetrics: { width: typeof measure } };
    const room = options.strokes ? 1 : 1.15;
    textMetrics.width = (item, line) => measure(item, line) * room;
    vega.resetSVGDefIds();
    try {
      const logger = vega.logger(vega.Error);
      // A copy: Vega writes into the data it draws.
      const copy = structuredClone(this.spec) as unknown as Parameters<typeof compile>[0];
      const compiled = compile(copy, { logger }).spec;
      const view = new vega.View(vega.parse(compiled), { renderer: "none", logger });
      const svg = await view.toSVG();
      view.finalize();
      return svg;
    } catch (error) {
      throw new CyclopsError(`Cannot draw the chart "${this.title}": ${messageOf(error)}`, { cause: error });
    }
  }

  /** The chart as the bytes of a PNG file. @param scale px of the picture per px of the chart. */
  async png(scale = 2): Promise<Uint8Array> {
    return await rasterizeSvg(await this.svg({ strokes: true }), scale);
  }

  /** Writes an SVG file. @throws {CyclopsError} When it cannot be written. */
  async writeSvg(path: string, options: SvgOptions = {}): Promise<void> {
    await writeAtomic(path, await this.svg(options));
  }

  /** Writes a PNG file; see {@linkcode Chart.png}. @throws {CyclopsError} When it cannot be written. */
  async writePng(path: string, scale = 2): Promise<void> {
    await writeAtomic(path, await this.png(scale));
  }

  /** The live chart, its picture for viewers that know no Vega, and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return {
      "application/vnd.vegalite.v5+json": this.spec,
      "image/png": (await this.png(1.5)).toBase64(),
      "text/plain": `${this.title} (chart)`,
    };
  }
}

/** The part of a Vega text mark that decides its width. */
interface TextItem {
  readonly text?: unknown;
  readonly fontSize?: number;
  readonly fontWeight?: string | number;
  readonly limit?: number;
}

function isBold(weight: string | number | undefined): boolean {
  return weight === "bold" || Number(weight) >= 600;
}

function measure(item: TextItem, line?: unknown): number {
  const text = String(line ?? item.text ?? "").trim();
  return textWidth(text, item.fontSize ?? 11, isBold(item.fontWeight) ? "bold" : "regular");
}

/** Takes out of Vega's SVG what no viewer shows, which is more than half of it, and names it for screen readers. */
function finishSvg(svg: string, title: string, options: SvgOptions): string {
  let out = svg
    .replace(/ (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"/g, "")
    .replace(/<text [^>]*opacity="0"[^>]*>.*?<\/text>/g, "")
    .replace(/<path [^>]*d="(?:M0,0h0v0h0Z)?"[^>]*\/>/g, "")
    .replace(/ (?:opacity="1"|stroke-miterlimit="4"|xmlns:xlink="[^"]*"|version="1.1")/g, "")
    .replace(/<text [^>]*\/>/g, "")
    .replace(/<[^>]*>/g, (tag) => tag.replace(/-?\d+\.\d{3,}(?:e-?\d+)?/g, roundCoordinate));
  for (let before = ""; before !== out;) {
    before = out;
    out = out.replace(/<g(?: [^>]*)?><\/g>/g, "").replace(/<g>((?:(?!<g[ >]|<\/g>).)*)<\/g>/g, "$1");
  }
  out = out.replace("<svg ", `<svg role="img" aria-label="${escapeHtml(title)}" `);
  if (options.strokes) out = out.replace(/<text([^>]*)>(.*?)<\/text>/g, strokeText);
  if (options.inherit) {
    out = out.replace(/<rect [^>]*fill="white"\/>/, "").replaceAll(INK, "currentColor");
  }
  return out;
}

/** A hundredth of a px is finer than any screen. */
function roundCoordinate(number: string): string {
  return String(Math.round(Number(number) * 100) / 100);
}

/** One `<text>` element as a path of our own letters. */
function strokeText(_: string, attributes: string, content: string): string {
  const of = (name: string) => attributes.match(new RegExp(` ${name}="([^"]*)"`))?.[1];
  const size = parseFloat(of("font-size") ?? "11");
  const weight = isBold(of("font-weight")) ? "bold" : "regular";
  const lines = content.includes("<tspan")
    ? [...content.matchAll(/<tspan([^>]*)>(.*?)<\/tspan>/g)].map(([, a, text]) => ({
      text,
      dy: parseFloat(a.match(/dy="([^"]*)"/)?.[1] ?? "0"),
    }))
    : [{ text: content, dy: 0 }];
  let d = "", y = 0, pen = 1;
  for (const { text, dy } of lines) {
    y += dy;
    const strokes = textStrokes(unescapeXml(text), size, weight);
    const anchor = of("text-anchor");
    const x = anchor === "middle" ? -strokes.width / 2 : anchor === "end" ? -strokes.width : 0;
    pen = strokes.pen;
    for (const line of strokes.lines) {
      for (let i = 0; i < line.length; i += 2) {
        d += `${i ? "L" : "M"}${(line[i] + x).toFixed(2)},${(line[i + 1] + y).toFixed(2)}`;
      }
    }
  }
  const opacity = of("opacity") ?? of("fill-opacity") ?? "1", transform = of("transform") ?? "";
  return `<path transform="${transform}" d="${d}" fill="none" stroke="${
    of("fill") ?? "#000"
  }" opacity="${opacity}" ` +
    `stroke-width="${pen.toFixed(2)}" stroke-linecap="round" stroke-linejoin="round"/>`;
}

function unescapeXml(text: string): string {
  return text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&");
}

/** Shortens a chart's label to a width in px, with an ellipsis. */
export function shortLabel(text: string, width: number): string {
  return fitText(text, 12, width);
}
