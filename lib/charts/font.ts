/**
 * A small stroke font of our own, so that labels look the same on every machine, with or without fonts installed.
 * Letters are single lines and arcs on a grid of 20 units an em; the pen's width makes them regular or bold.
 *
 * @module
 */

/** Units of the grid in one font size. */
const EM = 20;
/** Space left and right of a letter, units. */
const BEARING = 1.7;
/** Pen width, units. */
const PEN: Readonly<Record<FontWeight, number>> = { regular: 1.75, bold: 2.65 };

/** How heavy the strokes are. */
export type FontWeight = "regular" | "bold";

/** Height of capitals as a fraction of the font size. */
export const CAP_HEIGHT = 14 / EM;

/** One letter: its width in units and its strokes, flat lists of x, y (y up, baseline 0), in units. */
interface Glyph {
  readonly width: number;
  readonly strokes: readonly (readonly number[])[];
}

/**
 * The letters. "m x y" lifts the pen, "l x y" draws a line, "q cx cy x y" a quadratic curve and
 * "a cx cy rx ry from to" an arc of an ellipse (degrees, anticlockwise when `to` is larger), joined to the pen by a
 * line unless ";" came before; "z" closes. The number in front is the letter's width.
 */
const LETTERS: Readonly<Record<string, string>> = {
  " ": "3.2",
  "0": "8.2 a 4.1 9.9 4.1 4.1 0 180 a 4.1 4.1 4.1 4.1 180 360 z",
  "1": "8.2 m 1.4 11.4 l 5 14 l 5 0",
  "2": "8.2 a 4 10.1 3.9 3.9 168 -32 l 0 0 l 8.2 0",
  "3": "8.2 a 3.9 10.5 3.6 3.5 158 -90 l 2.8 7 ; m 3.9 7 a 4 3.6 4.1 3.6 85 -158",
  "4": "8.6 m 6.4 0 l 6.4 14 l 0 4 l 8.6 4",
  "5": "8.2 m 7.4 14 l 1.4 14 l 0.8 7.6 a 3.9 4.6 4.2 4.6 136 -155",
  "6": "8.2 a 4.1 4.4 4.1 4.4 0 360 ; m 5.8 14 q 0 9.6 0 4.4",
  "7": "8.2 m 0 14 l 8.2 14 l 2.7 0",
  "8": "8.2 a 4.1 10.6 3.5 3.4 0 360 ; a 4.1 3.6 4.1 3.6 0 360",
  "9": "8.2 a 4.1 9.6 4.1 4.4 0 360 ; m 2.4 0 q 8.2 4.4 8.2 9.6",
  A: "10.4 m 0 0 l 5.2 14 l 10.4 0 ; m 1.8 4.7 l 8.6 4.7",
  B: "8.6 m 4.6 7.4 l 0 7.4 l 0 14 l 4.6 14 a 4.6 10.7 3.3 3.3 90 -90 a 4.9 3.7 3.7 3.7 90 -90 l 0 0 l 0 7.4",
  C: "9.8 a 5.5 7 5.5 7 47 313",
  D: "9.8 m 0 0 l 0 14 l 3.6 14 a 3.6 7 6.2 7 90 -90 z",
  E: "7.4 m 7.4 14 l 0 14 l 0 0 l 7.4 0 ; m 0 7.2 l 6.4 7.2",
  F: "7.2 m 7.2 14 l 0 14 l 0 0 ; m 0 7 l 6.2 7",
  G: "10.6 a 5.5 7 5.5 7 47 338 l 10.6 6.6 l 6.2 6.6",
  H: "9.4 m 0 0 l 0 14 ; m 9.4 0 l 9.4 14 ; m 0 7.2 l 9.4 7.2",
  I: "0.4 m 0.2 0 l 0.2 14",
  J: "6.6 m 6.6 14 l 6.6 4 a 3.3 4 3.3 4 0 -165",
  K: "8.8 m 0 0 l 0 14 ; m 8.4 14 l 0 5 ; m 3.2 8.4 l 8.8 0",
  L: "7 m 0 14 l 0 0 l 7 0",
  M: "11.6 m 0 0 l 0 14 l 5.8 4.4 l 11.6 14 l 11.6 0",
  N: "9.6 m 0 0 l 0 14 l 9.6 0 l 9.6 14",
  O: "11.4 a 5.7 7 5.7 7 0 360",
  P: "8.6 m 0 0 l 0 14 l 4.7 14 a 4.7 10.1 3.9 3.9 90 -90 l 0 6.2",
  Q: "11.4 a 5.7 7 5.7 7 0 360 ; m 7 3.4 l 11 -0.8",
  R: "8.8 m 0 0 l 0 14 l 4.7 14 a 4.7 10.2 3.8 3.8 90 -90 l 0 6.4 ; m 4.6 6.4 l 8.8 0",
  S: "8.6 a 4.3 10.5 4 3.5 32 262 l 5 6.9 a 4.3 3.5 4.3 3.5 78 -150",
  T: "9.4 m 0 14 l 9.4 14 ; m 4.7 14 l 4.7 0",
  U: "9.4 m 0 14 l 0 4.7 a 4.7 4.7 4.7 4.7 180 360 l 9.4 14",
  V: "10.2 m 0 14 l 5.1 0 l 10.2 14",
  W: "14.4 m 0 14 l 3.6 0 l 7.2 12.4 l 10.8 0 l 14.4 14",
  X: "9.2 m 0.2 14 l 9 0 ; m 9 14 l 0.2 0",
  Y: "9.6 m 0 14 l 4.8 7 l 9.6 14 ; m 4.8 7 l 4.8 0",
  Z: "8.8 m 0.2 14 l 8.8 14 l 0 0 l 8.8 0",
  a: "7.4 m 0.7 8.6 q 2 10 4 10 q 7.4 10 7.4 6.6 l 7.4 0 ; m 7.4 5.9 l 3.6 5.9 a 3.2 2.95 3.2 2.95 90 270 q 6 0 7.4 2.6",
  b: "8.2 m 0 14.6 l 0 0 ; a 4.1 5 4.1 5 0 360",
  c: "7.2 a 4.2 5 4.2 5 48 312",
  d: "8.2 m 8.2 14.6 l 8.2 0 ; a 4.1 5 4.1 5 0 360",
  e: "8.2 m 0.1 5.2 l 8.2 5.2 a 4.1 5 4.1 5 3 318",
  f: "4.8 m 5 14.4 q 1.8 15 1.8 11.4 l 1.8 0 ; m 0 10 l 4.6 10",
  g: "8.2 a 4.1 5 4.1 5 0 360 ; m 8.2 10 l 8.2 0 a 4.3 -0.2 3.9 4 0 -150",
  h: "7.6 m 0 14.6 l 0 0 ; m 0 6 a 3.8 6.1 3.8 3.9 180 0 l 7.6 0",
  i: "0.4 m 0.2 10 l 0.2 0 ; m 0.2 13.6 l 0.2 13.9",
  j: "2 m 1.8 10 l 1.8 -1.6 q 1.8 -4.4 -0.8 -4 ; m 1.8 13.6 l 1.8 13.9",
  k: "7 m 0 14.6 l 0 0 ; m 6.6 10 l 0 3.8 ; m 2.6 6.2 l 7 0",
  l: "1.8 m 0 14.6 l 0 2 q 0 0 2 0",
  m: "12.4 m 0 10 l 0 0 ; m 0 6.6 a 3.1 6.9 3.1 3.1 180 0 l 6.2 0 ; m 6.2 6.6 a 9.3 6.9 3.1 3.1 180 0 l 12.4 0",
  n: "7.6 m 0 10 l 0 0 ; m 0 6 a 3.8 6.1 3.8 3.9 180 0 l 7.6 0",
  o: "8.4 a 4.2 5 4.2 5 0 360",
  p: "8.2 m 0 10 l 0 -4.4 ; a 4.1 5 4.1 5 0 360",
  q: "8.2 m 8.2 10 l 8.2 -4.4 ; a 4.1 5 4.1 5 0 360",
  r: "4.8 m 0 10 l 0 0 ; m 0 5.6 a 4.2 5.8 4.2 4.2 180 80",
  s: "6.8 a 3.4 7.5 3.2 2.5 30 262 l 3.8 4.9 a 3.4 2.5 3.4 2.5 78 -150",
  t: "4.8 m 1.8 13.4 l 1.8 3 q 1.8 -0.4 4.9 0.2 ; m 0 10 l 4.6 10",
  u: "7.6 m 0 10 l 0 3.9 a 3.8 3.9 3.8 3.9 180 360 ; m 7.6 10 l 7.6 0",
  v: "7.6 m 0 10 l 3.8 0 l 7.6 10",
  w: "11.6 m 0 10 l 2.9 0 l 5.8 9 l 8.7 0 l 11.6 10",
  x: "7.2 m 0.2 10 l 7 0 ; m 7 10 l 0.2 0",
  y: "7.6 m 0 10 l 3.8 0.4 ; m 7.6 10 l 3.4 -0.8 q 2.2 -4.4 -0.2 -4.2",
  z: "6.8 m 0.2 10 l 6.6 10 l 0 0 l 6.8 0",
  ".": "0.5 m 0.2 0.1 l 0.3 0.1",
  ",": "0.8 m 0.6 0.3 l -0.1 -2.2",
  ":": "0.5 m 0.2 0.3 l 0.3 0.3 ; m 0.2 8.6 l 0.3 8.6",
  ";": "0.8 m 0.6 0.3 l -0.1 -2.2 ; m 0.4 8.6 l 0.5 8.6",
  "!": "0.5 m 0.2 14 l 0.2 4.6 ; m 0.2 0.1 l 0.3 0.1",
  "?": "7 a 3.5 10.5 3.5 3.5 165 -30 q 3.5 6.6 3.5 4.4 ; m 3.4 0.1 l 3.5 0.1",
  "'": "0.4 m 0.2 14.4 l 0.2 11",
  '"': "3 m 0.2 14.4 l 0.2 11 ; m 2.8 14.4 l 2.8 11",
  "(": "3.2 m 3.2 15.6 q -3 6 3.2 -3.4",
  ")": "3.2 m 0 15.6 q 6.2 6 0 -3.4",
  "[": "3 m 3 15.4 l 0 15.4 l 0 -3.2 l 3 -3.2",
  "]": "3 m 0 15.4 l 3 15.4 l 3 -3.2 l 0 -3.2",
  "{": "3.6 m 3.6 15.4 q 1.8 15.4 1.8 12 l 1.8 9 q 1.8 6 0 6 q 1.8 6 1.8 3 l 1.8 0 q 1.8 -3.2 3.6 -3.2",
  "}": "3.6 m 0 15.4 q 1.8 15.4 1.8 12 l 1.8 9 q 1.8 6 3.6 6 q 1.8 6 1.8 3 l 1.8 0 q 1.8 -3.2 0 -3.2",
  "<": "7.6 m 7.6 11.4 l 0.4 6.6 l 7.6 1.8",
  ">": "7.6 m 0 11.4 l 7.2 6.6 l 0 1.8",
  "≤": "7.6 m 7.6 12.4 l 0.4 8 l 7.6 3.6 ; m 0.4 0.4 l 7.6 0.4",
  "≥": "7.6 m 0 12.4 l 7.2 8 l 0 3.6 ; m 0 0.4 l 7.2 0.4",
  "+": "8 m 0 6.6 l 8 6.6 ; m 4 10.6 l 4 2.6",
  "±": "8 m 0 8 l 8 8 ; m 4 12 l 4 4 ; m 0 0.6 l 8 0.6",
  "-": "4 m 0 5.4 l 4 5.4",
  "−": "8 m 0 6.6 l 8 6.6",
  "–": "7 m 0 5.4 l 7 5.4",
  "—": "13 m 0 5.4 l 13 5.4",
  "=": "8 m 0 8.6 l 8 8.6 ; m 0 4.4 l 8 4.4",
  "≈": "8 m 0 8 q 2 11 4 9 q 6 7 8 9.6 ; m 0 3.8 q 2 6.8 4 4.8 q 6 2.8 8 5.4",
  "~": "8 m 0 5.6 q 2 8.8 4 6.6 q 6 4.4 8 7.4",
  "*": "5 m 2.5 14 l 2.5 9 ; m 0.3 12.8 l 4.7 10.2 ; m 4.7 12.8 l 0.3 10.2",
  "/": "6 m 0 -1.4 l 6 15",
  "\\": "6 m 6 -1.4 l 0 15",
  "|": "0.4 m 0.2 15.4 l 0.2 -3.4",
  _: "9 m 0 -2 l 9 -2",
  "#": "9 m 2.2 0 l 4 14 ; m 6 0 l 7.8 14 ; m 0.4 9.6 l 9.4 9.6 ; m -0.2 4.4 l 8.8 4.4",
  "%": "12.4 a 2.7 10.7 2.6 3.3 0 360 ; a 9.7 3.3 2.6 3.3 0 360 ; m 10 14 l 2.4 0",
  "&": "10 m 10 0 l 2.2 9.2 a 4.2 11.2 2.8 2.8 224 -40 l 2.4 7 a 4 3.6 4 3.6 118 300 q 8.6 1.6 9.4 7",
  "@": "13 a 6.6 5.6 3 3.4 0 360 ; m 9.6 9 l 9.6 4.4 q 10 2 11.6 2.6 q 13 3.4 13 6 a 6.5 6 6.5 7.4 0 300",
  $: "8.6 a 4.3 10.2 4 3.2 32 262 l 5 6.9 a 4.3 3.7 4.3 3.3 78 -150 ; m 4.3 15.6 l 4.3 -1.6",
  "^": "6.6 m 0 9 l 3.3 14 l 6.6 9",
  "`": "2.4 m 0 14.6 l 2.4 11.8",
  "°": "4.4 a 2.2 11.8 2.2 2.2 0 360",
  "²": "4.6 a 2.3 13 2.2 2.2 165 -30 l 0 7.6 l 4.6 7.6",
  "³": "4.6 a 2.2 13.2 2 1.9 155 -90 ; a 2.2 9.4 2.3 1.9 88 -155",
  "·": "1 m 0.4 5.6 l 0.6 5.6",
  "•": "2.4 a 1.2 6 0.7 0.7 0 360",
  "×": "6.6 m 0 9.9 l 6.6 3.3 ; m 6.6 9.9 l 0 3.3",
  "÷": "8 m 0 6.6 l 8 6.6 ; m 4 10.8 l 4 10.9 ; m 4 2.3 l 4 2.4",
  "→": "11 m 0 6 l 11 6 ; m 7.4 9.6 l 11 6 l 7.4 2.4",
  "←": "11 m 11 6 l 0 6 ; m 3.6 9.6 l 0 6 l 3.6 2.4",
  "↑": "7.2 m 3.6 0 l 3.6 13.4 ; m 0 9.8 l 3.6 13.4 l 7.2 9.8",
  "↓": "7.2 m 3.6 13.4 l 3.6 0 ; m 0 3.6 l 3.6 0 l 7.2 3.6",
  "…": "9 m 0.2 0.1 l 0.3 0.1 ; m 4.4 0.1 l 4.5 0.1 ; m 8.6 0.1 l 8.7 0.1",
  "✓": "8.4 m 0 5.4 l 3 1.6 l 8.4 11",
  "√": "9.6 m 0 6.6 l 1.8 7.4 l 4 0 l 6.4 15 l 9.8 15",
  "∞": "12 a 3 5 3 3 20 340 q 6 5 6.2 5.6 a 9 5 3 3 160 -160 q 6 5 5.8 4.4",
  "∇": "9.6 m 0 14 l 9.6 14 l 4.8 0 z",
  "Δ": "9.6 m 0 0 l 9.6 0 l 4.8 14 z",
  "α": "9 m 9 9.8 q 7 0 4 0 a 4 5 4 5 270 90 q 6.6 10 9 0.2",
  "β": "7.8 m 0 -4.2 l 0 11 q 0 14.6 3.8 14.6 a 3.6 11.3 3.3 3.3 80 -90 l 2.6 8 ; a 3.9 4 3.9 4 90 -130",
  "δ": "8.2 a 4.1 4.8 4.1 4.8 0 360 ; m 3.6 9.6 q 0.4 12.4 1.4 13.8 q 3.6 15.2 7.2 13.8",
  "λ": "8 m 0.4 14.6 q 2.4 14.6 3 12.6 l 8 0 ; m 4 9.2 l 0 0",
  "μ": "8 m 0 10 l 0 -4.4 ; m 0 3.9 a 3.8 3.9 3.8 3.9 180 360 ; m 7.6 10 l 7.6 2 q 7.6 0 9 0",
  "σ": "9 a 4.1 4.8 4.1 4.8 100 450 q 4 9.8 5 9.8 l 9.4 9.8",
};

const glyphs = new Map<string, Glyph>();
const MISSING = "7.6 m 0 0 l 0 14 l 7.6 14 l 7.6 0 z";
const SAME: Readonly<Record<string, string>> = {
  "\u00a0": " ",
  "\u202f": " ",
  "\u2009": " ",
  "\u2011": "-",
  "’": "'",
  "‘": "'",
  "“": '"',
  "”": '"',
  µ: "μ",
  "∆": "Δ",
};

function parseGlyph(source: string): Glyph {
  const words = source.split(" ");
  const width = Number(words[0]);
  const strokes: number[][] = [];
  let pen: number[] | undefined;
  const to = (x: number, y: number) => {
    if (!pen) strokes.push(pen = []);
    pen.push(x, y);
  };
  for (let i = 1; i < words.length;) {
    const take = (count: number) => words.slice(i, i += count).map(Number);
    switch (words[i++]) {
      case "m": {
        const [x, y] = take(2);
        pen = undefined;
        to(x, y);
        break;
      }
      case "l": {
        const [x, y] = take(2);
        to(x, y);
        break;
      }
      case "q": {
        const [cx, cy, x, y] = take(4);
        const [x0, y0] = pen!.slice(-2);
        for (let k = 1; k <= 8; k++) {
          const t = k / 8, s = 1 - t;
          to(s * s * x0 + 2 * s * t * cx + t * t * x, s * s * y0 + 2 * s * t * cy + t * t * y);
        }
        break;
      }
      case "a": {
        const [cx, cy, rx, ry, from, end] = take(6);
        const steps = Math.ceil(Math.abs(end - from) / 12);
        for (let k = 0; k <= steps; k++) {
          const angle = (from + (end - from) * k / steps) * Math.PI / 180;
          to(cx + rx * Math.cos(angle), cy + ry * Math.sin(angle));
        }
        break;
      }
      case "z":
        pen!.push(pen![0], pen![1]);
        pen = undefined;
        break;
      case ";":
        pen = undefined;
    }
  }
  return { width, strokes };
}

function glyphOf(letter: string): Glyph {
  let glyph = glyphs.get(letter);
  if (!glyph) {
    // é is drawn as e: an accent less is better than a box.
    const plain = SAME[letter] ?? letter.normalize("NFD")[0];
    glyph = parseGlyph(LETTERS[plain] ?? MISSING);
    glyphs.set(letter, glyph);
  }
  return glyph;
}

/**
 * Width of a line of text.
 *
 * @param text One line.
 * @param size Font size, px.
 * @returns Width in px.
 */
export function textWidth(text: string, size: number, weight: FontWeight = "regular"): number {
  let units = 0;
  for (const letter of text) units += glyphOf(letter).width + 2 * bearing(weight);
  return units * size / EM;
}

function bearing(weight: FontWeight): number {
  return BEARING + (PEN[weight] - PEN.regular) / 3;
}

/** A text's strokes. */
export interface TextStrokes {
  /** Flat lists of x, y in px; x from the text's left edge, y down from the baseline. */
  readonly lines: readonly Float32Array[];
  /** Pen width, px. */
  readonly pen: number;
  /** Advance of the whole text, px. */
  readonly width: number;
}

/** The strokes of one line of text, for a drawing or an SVG path; see {@linkcode textWidth} for its parameters. */
export function textStrokes(text: string, size: number, weight: FontWeight = "regular"): TextStrokes {
  const unit = size / EM;
  const lines: Float32Array[] = [];
  let x = 0;
  for (const letter of text) {
    const glyph = glyphOf(letter);
    x += bearing(weight);
    for (const stroke of glyph.strokes) {
      const line = new Float32Array(stroke.length);
      for (let i = 0; i < stroke.length; i += 2) {
        line[i] = (x + stroke[i]) * unit;
        line[i + 1] = -stroke[i + 1] * unit;
      }
      lines.push(line);
    }
    x += glyph.width + bearing(weight);
  }
  return { lines, pen: PEN[weight] * unit, width: x * unit };
}

/** Cuts a text with an ellipsis so that it is at most `width` px wide. */
export function fitText(text: string, size: number, width: number, weight: FontWeight = "regular"): string {
  if (textWidth(text, size, weight) <= width) return text;
  const letters = [...text];
  while (letters.length && textWidth(letters.join("") + "…", size, weight) > width) letters.pop();
  return letters.length ? letters.join("").trimEnd() + "…" : "";
}

/** Breaks a text at spaces into lines at most `width` px wide; a longer word stands alone, cut. */
export function wrapText(
  text: string,
  size: number,
  width: number,
  weight: FontWeight = "regular",
): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(/[ \t]+/)) {
      const longer = line ? `${line} ${word}` : word;
      if (line && textWidth(longer, size, weight) > width) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    lines.push(line);
  }
  return lines.map((line) => fitText(line, size, width, weight));
}
