/**
 * Text in pictures: measured without a font, drawn by sharp from SVG with the DejaVu font that comes with the project,
 * so that a machine without fonts draws the same picture.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { default as Sharp } from "sharp";
import { loadSharp, type RgbImage } from "../data/image.ts";

/** Family of all text in raster pictures. */
const FAMILY = "DejaVu Sans";

/** Colors of text in pictures. */
export const INK = "#1c2028", SOFT_INK = "#5c6370";

let ready: Promise<typeof Sharp> | undefined;

/** sharp, with the font registered; where the npm package is not on disk, the system's fonts are used. */
function sharpWithFont(): Promise<typeof Sharp> {
  return ready ??= loadSharp().then(async (sharp) => {
    const { createRequire } = await import("node:module"); // slow to load
    for (const [file, font] of [["DejaVuSans", FAMILY], ["DejaVuSans-Bold", `${FAMILY} Bold`]]) {
      try {
        const fontfile = createRequire(import.meta.url).resolve(`dejavu-fonts-ttf/ttf/${file}.ttf`);
        await sharp({ text: { text: ".", font, fontfile } }).raw().toBuffer();
      } catch { /* no package, or this module was not loaded from a file */ }
    }
    return sharp;
  });
}

/** An SVG drawing on white, as the bytes of a PNG file with at most 64 colors. `scale` is px per px of the drawing. */
export async function rasterizeSvg(svg: string, scale = 1): Promise<Uint8Array> {
  const sharp = await sharpWithFont();
  const bytes = new TextEncoder().encode(svg.replace(/font-family="[^"]*"/g, `font-family="${FAMILY}"`));
  return await sharp(bytes, { density: 72 * scale })
    .flatten({ background: "white" }).png({ palette: true, colours: 64, compressionLevel: 9 }).toBuffer();
}

/** An image with SVG elements drawn over it; their coordinates are px of the image. */
export async function drawOver(image: RgbImage, elements: string): Promise<RgbImage> {
  const { width, height } = image;
  const sharp = await sharpWithFont();
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `font-family="${FAMILY}">${elements}</svg>`;
  const data = await sharp(image.data, { raw: { width, height, channels: 3 } })
    .composite([{ input: Buffer.from(svg) }]).removeAlpha().raw().toBuffer();
  return { width, height, data: new Uint8Array(data) };
}

/** How a line of text is drawn. */
export interface TextStyle {
  readonly size?: number;
  readonly bold?: boolean;
  readonly color?: string;
  /** Which point of the text x names. @default "start" */
  readonly anchor?: "start" | "middle" | "end";
}

/** A line of text as an SVG element; y is the baseline. */
export function svgText(text: string, x: number, y: number, style: TextStyle = {}): string {
  const { size = 13, bold = false, color = INK, anchor = "start" } = style;
  return `<text x="${x}" y="${y}" font-size="${size}"${bold ? ' font-weight="bold"' : ""}` +
    `${anchor === "start" ? "" : ` text-anchor="${anchor}"`} fill="${color}">${escapeHtml(text)}</text>`;
}

/** Width of a line of text, px: within a few percent of DejaVu Sans, which runs wider than most fonts. */
export function textWidth(text: string, size: number, bold = false): number {
  let em = 0;
  for (const letter of text) {
    em += /[ijl'|.,:;!·I ]/.test(letter)
      ? 0.31
      : /[frt()[\]{}/\\"-]/.test(letter)
      ? 0.4
      : /[mwMW@%—…]/.test(letter)
      ? 0.93
      : /[A-Z±×<>=+~→↓↑]/.test(letter)
      ? 0.72
      : 0.61;
  }
  return em * size * (bold ? 1.12 : 1);
}

/** Breaks a text at spaces into lines at most `width` px wide; a word wider than that is cut with an ellipsis. */
export function wrapText(text: string, size: number, width: number, bold = false): string[] {
  const fits = (line: string) => textWidth(line, size, bold) <= width;
  const lines = text.split("\n").flatMap((paragraph) => {
    const broken = [""];
    for (const word of paragraph.split(/[ \t]+/)) {
      const last = broken.at(-1)!, longer = last ? `${last} ${word}` : word;
      if (!last || fits(longer)) broken[broken.length - 1] = longer;
      else broken.push(word);
    }
    return broken;
  });
  return lines.map((line) => {
    if (fits(line)) return line;
    const letters = [...line];
    while (letters.length && !fits(letters.join("") + "…")) letters.pop();
    return letters.join("").trimEnd() + "…";
  });
}

/** Escapes a text for HTML, in content and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
