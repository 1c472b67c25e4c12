import { assert, assertEquals, assertGreater, assertLessOrEqual } from "../_assert.ts";
import { fitText, textStrokes, textWidth, wrapText } from "../../lib/charts/font.ts";

/** Strokes of a letter that is not in the font: a box. */
const box = JSON.stringify(textStrokes("漢", 20).lines.map((line) => [...line]));

Deno.test("every printable ASCII letter and every sign that labels use has strokes of its own", () => {
  const signs = "±×·—–−→←↑↓≤≥≈°²³δσμλαβΔ∇√∞…✓•";
  const ascii = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const seen = new Map<string, string>();
  for (const letter of [...ascii, ...signs]) {
    const strokes = JSON.stringify(textStrokes(letter, 20).lines.map((line) => [...line]));
    assert(strokes !== box, `${letter} is missing`);
    assert(strokes !== "[]", `${letter} is empty`);
    assertEquals(seen.get(strokes), undefined, `${letter} looks like ${seen.get(strokes)}`);
    seen.set(strokes, letter);
  }
});

Deno.test("an accent is dropped and a typographic quote drawn as a plain one", () => {
  assertEquals(textStrokes("é", 20).lines, textStrokes("e", 20).lines);
  assertEquals(textStrokes("’", 20).lines, textStrokes("'", 20).lines);
});

Deno.test("a text's width grows with its size and is the sum of its letters", () => {
  assertEquals(textWidth("abs rel", 24), 2 * textWidth("abs rel", 12));
  const sum = textWidth("ab", 12) + textWidth("s", 12);
  assert(Math.abs(textWidth("abs", 12) - sum) < 1e-9);
  assertGreater(textWidth("abs", 12, "bold"), textWidth("abs", 12));
});

Deno.test("strokes stay within the text's width and above its descenders", () => {
  const { lines, width } = textStrokes("Qgjpy|0.1467", 20);
  for (const line of lines) {
    for (let i = 0; i < line.length; i += 2) {
      assert(line[i] >= 0 && line[i] <= width, `x ${line[i]} of ${width}`);
      assert(line[i + 1] >= -16 && line[i + 1] <= 5, `y ${line[i + 1]}`);
    }
  }
});

Deno.test("a text that does not fit is cut with an ellipsis, one that fits is left alone", () => {
  assertEquals(fitText("short", 12, 500), "short");
  const cut = fitText("2011_09_26_drive_0002_sync", 12, 80);
  assert(cut.endsWith("…") && cut.length > 2);
  assertLessOrEqual(textWidth(cut, 12), 80);
  assertEquals(fitText("anything", 12, 1), "");
});

Deno.test("wrapped lines fit and lose no word", () => {
  const text = "the quick brown fox jumps over the lazy dog\nand again";
  const lines = wrapText(text, 12, 90);
  for (const line of lines) assertLessOrEqual(textWidth(line, 12), 90);
  assertEquals(lines.join(" "), text.replace("\n", " "));
  assertEquals(lines.at(-1), "and again");
});
