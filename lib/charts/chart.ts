/**
 * A Vega-Lite chart that renders in a notebook, interactive and static, and saves as SVG or PNG.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";
import { writeAtomic } from "../base/files.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { escapeHtml, INK, rasterizeSvg, textWidth } from "./svg.ts";

/** A Vega-Lite specification, without `$schema` and `config`, which {@linkcode Chart} adds. */
export type VegaLiteSpec = Readonly<Record<string, unknown>>;

/** Colors that people with any color vision tell apart (Okabe and Ito, 2008), the darkest first. */
export const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"] as const;

const LABELS = {
  labelFontSize: 12,
  titleFontSize: 12,
  titleFontWeight: "normal",
  labelColor: INK,
  titleColor: INK,
};
/** One look for all charts. */
const THEME = {
  background: "white",
  font: "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif",
  padding: 8,
  view: { stroke: null },
  axis: {
    ...LABELS,
    labelOpacity: 0.75,
    domainColor: INK,
    domainOpacity: 0.35,
    tickColor: INK,
    tickOpacity: 0.35,
    gridColor: INK,
    gridOpacity: 0.1,
    labelOverlap: "greedy",
  },
  legend: { ...LABELS, symbolStrokeWidth: 2.5, symbolSize: 110, labelLimit: 400, rowPadding: 4 },
  title: {
    fontSize: 15,
    fontWeight: 600,
    color: INK,
    anchor: "start",
    frame: "group",
    offset: 12,
    subtitleFontSize: 12,
    subtitleColor: INK,
  },
  text: { color: INK, fontSize: 12 },
  rule: { color: INK },
  range: { category: PALETTE },
};

let drawn: Promise<void> = Promise.resolve();

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
  readonly spec: VegaLiteSpec;

  /** Adds the theme to a specification; `title` says what the chart shows: its alternative text. */
  constructor(spec: VegaLiteSpec, readonly title: string) {
    this.spec = { $schema: "https://vega.github.io/schema/vega-lite/v5.json", ...spec, config: THEME };
  }

  /**
   * The chart as SVG, the same text for the same specification. Where the pointer rests on a point, its values show.
   *
   * @param options.inherit Text and axes take the color of the page around them, without a background. @default false
   * @throws {CyclopsError} When the specification is invalid.
   */
  async svg(options: { readonly inherit?: boolean } = {}): Promise<string> {
    // Vega's text measure and its counter of names are global: one chart at a time.
    const drawing = drawn.then(() => this.#draw());
    drawn = drawing.then(() => {}, () => {});
    const svg = compact(await drawing)
      .replace("<svg ", `<svg role="img" aria-label="${escapeHtml(this.title)}" `);
    if (!options.inherit) return svg;
    return svg.replace(/<rect [^>]*fill="white"\/>/, "").replaceAll(INK, "currentColor");
  }

  async #draw(): Promise<string> {
    const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
    // Without a canvas Vega guesses 0.8 em per letter, far too wide.
    const { textMetrics } = vega as unknown as { textMetrics: { width: typeof measure } };
    textMetrics.width = measure;
    vega.resetSVGDefIds();
    try {
      const logger = vega.logger(vega.Error);
      // A copy: Vega writes into the data it draws.
      const copy = structuredClone(this.spec) as unknown as Parameters<typeof compile>[0];
      const view = new vega.View(vega.parse(compile(copy, { logger }).spec), { renderer: "none", logger });
      const svg = await view.toSVG();
      view.finalize();
      return svg;
    } catch (error) {
      throw new CyclopsError(`Cannot draw the chart "${this.title}": ${messageOf(error)}`, { cause: error });
    }
  }

  /** The bytes of a PNG file. @param scale px of the picture per px of the chart. */
  async png(scale = 2): Promise<Uint8Array> {
    return await rasterizeSvg(await this.svg(), scale);
  }

  async writeSvg(path: string): Promise<void> {
    await writeAtomic(path, await this.svg());
  }

  async writePng(path: string, scale = 2): Promise<void> {
    await writeAtomic(path, await this.png(scale));
  }

  /** The live chart, its picture for viewers that do not know Vega, and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return {
      "application/vnd.vegalite.v5+json": this.spec,
      "image/png": (await this.png(1.5)).toBase64(),
      "text/plain": `${this.title} (chart)`,
    };
  }
}

/** Vega's measure of a text mark. */
function measure(item: { text?: unknown; fontSize?: number; fontWeight?: unknown }, line?: unknown): number {
  const bold = item.fontWeight === "bold" || Number(item.fontWeight) >= 600;
  return textWidth(String(line ?? item.text ?? "").trim(), item.fontSize ?? 11, bold);
}

/** Removes from Vega's SVG what no viewer shows, more than half of it; a point's description becomes its tooltip. */
function compact(svg: string): string {
  let out = svg
    .replace(
      /<path aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="(?:point|square)"([^>]*)\/>/g,
      "<path$2><title>$1</title></path>",
    )
    .replace(/ (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"/g, "")
    .replace(/<text [^>]*opacity="0"[^>]*>.*?<\/text>/g, "")
    .replace(/<path [^>]*d="(?:M0,0h0v0h0Z)?"[^>]*\/>/g, "")
    .replace(/ (?:opacity="1"|stroke-miterlimit="4"|xmlns:xlink="[^"]*"|version="1.1")/g, "")
    .replace(/<text [^>]*\/>/g, "")
    // A hundredth of a px is finer than any screen.
    .replace(
      /<[^>]*>/g,
      (tag) =>
        tag.replace(/-?\d+\.\d{3,}(?:e-?\d+)?/g, (number) => String(Math.round(Number(number) * 100) / 100)),
    );
  for (let before = ""; before !== out;) {
    before = out;
    out = out.replace(/<g(?: [^>]*)?><\/g>/g, "").replace(/<g>((?:(?!<g[ >]|<\/g>).)*)<\/g>/g, "$1");
  }
  return out;
}
