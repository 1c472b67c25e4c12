import { join } from "@std/path";
import { median, Random } from "../../lib/base/random.ts";
import { checkPairData, type DataProblem } from "../../lib/data/check.ts";
import { type RgbImage, writeGray16, writeRgb } from "../../lib/data/image.ts";
import { matchCorners } from "../../lib/geometry/corners.ts";
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "../_assert.ts";
import { withFolder } from "../_folder.ts";
import { task } from "../tasks/_run.ts";

const width = 320, height = 120;

/** A picture that is defined between pixels, too: smoothed noise of three sizes. */
function texture(seed: number): (x: number, y: number) => number {
  const random = new Random(seed), side = 64;
  const octaves = [5, 10, 20].map((px) => ({
    px,
    lattice: Float32Array.from({ length: side * side }, () => random.next()),
  }));
  const mix = (a: number, b: number, t: number) => a + (b - a) * t * t * (3 - 2 * t);
  return (x, y) => {
    let sum = -60;
    for (const { px, lattice } of octaves) {
      const u = x / px + 20, v = y / px + 20, i = Math.floor(u), j = Math.floor(v);
      const at = (dx: number, dy: number) => lattice[(j + dy) % side * side + (i + dx) % side];
      sum += 120 * mix(mix(at(0, 0), at(1, 0), u - i), mix(at(0, 1), at(1, 1), u - i), v - j);
    }
    return sum;
  };
}

/** How a pair is made. */
interface PairOptions {
  readonly seed?: number;
  /** px, by row. */
  readonly disparity?: (y: number) => number;
  readonly rowOffset?: (x: number) => number;
  readonly gains?: readonly [number, number, number];
}

function makePair(options: PairOptions = {}): { left: RgbImage; right: RgbImage } {
  const { seed = 1, disparity = (y) => 4 + y / 6, rowOffset = () => 0, gains = [1, 1, 1] } = options;
  const at = texture(seed);
  const image = (value: (x: number, y: number) => number, gains: readonly number[]) => {
    const data = new Uint8Array(width * height * 3);
    for (let p = 0; p < width * height; p++) {
      const gray = value(p % width, Math.floor(p / width));
      for (let c = 0; c < 3; c++) data[3 * p + c] = Math.min(255, Math.max(0, gains[c] * gray));
    }
    return { width, height, data };
  };
  return {
    left: image(at, [0.7, 0.7, 0.7]),
    right: image((x, y) => at(x + disparity(y), y - rowOffset(x)), gains.map((g) => 0.7 * g)),
  };
}

async function writeFiles(root: string, name: string, options: PairOptions = {}): Promise<void> {
  const { left, right } = makePair(options);
  await writeRgb(join(root, `${name}l.png`), left);
  await writeRgb(join(root, `${name}r.png`), right);
}

/** Writes a manifest and says what the check finds in it: occurrences by kind. */
async function found(root: string, rows: readonly string[], header = "left,right,focal_px,baseline_m") {
  await Deno.writeTextFile(join(root, "m.csv"), [header, ...rows].join("\n"));
  const report = await checkPairData(join(root, "m.csv"), { split: "street", maxDisparity: 0.3 });
  return { report, kinds: Object.fromEntries([...report.problems].map(([kind, all]) => [kind, all.length])) };
}

Deno.test("corners are matched to fractions of a px, in any direction", () => {
  const gray = ({ data }: RgbImage) => ({
    width,
    height,
    data: Float32Array.from(data.filter((_, i) => i % 3 === 0)),
  });
  for (const [disparity, offset] of [[9.3, 0], [-20.6, 2.4], [70, -7.5]]) {
    const { left, right } = makePair({ disparity: () => disparity, rowOffset: () => offset });
    const matches = matchCorners(gray(left), gray(right));
    assert(matches.length > 60, `${matches.length} matches`);
    assertAlmostEquals(median(matches.map((match) => match.disparity)), disparity, 0.1);
    assertAlmostEquals(median(matches.map((match) => match.rowOffset)), offset, 0.1);
    const far = matches.filter((m) => Math.hypot(m.disparity - disparity, m.rowOffset - offset) > 0.5);
    assert(far.length < 0.03 * matches.length, `${far.length} of ${matches.length} matches are wrong`);
  }
});

Deno.test("sound pairs have no problem", async () => {
  await withFolder(async (root) => {
    for (const seed of [1, 2]) await writeFiles(root, String(seed), { seed });
    const { report, kinds } = await found(root, ["1l.png,1r.png,300,0.1", "2l.png,2r.png,300,0.1"]);
    assertEquals([kinds, report.checked.length], [{}, 2]);
    const disparities = report.checked[0].matches.map((m) => m.disparity - 4 - m.y / 6);
    assertAlmostEquals(disparities.reduce((a, b) => a + b) / disparities.length, 0, 0.2);
  });
});

const FAULTS: Partial<Record<DataProblem, PairOptions>> = {
  swapped: { disparity: (y) => -4 - y / 6 },
  converging: { disparity: (y) => y / 3 - 12 },
  rows: { rowOffset: () => 2 },
  large: { disparity: () => 110 },
  small: { disparity: () => 0.6 },
  exposure: { gains: [1.35, 1.35, 1.35] },
  color: { gains: [1.15, 1, 0.95] },
};

for (const [kind, options] of Object.entries(FAULTS)) {
  Deno.test(`one pair of three is wrong: ${kind}`, async () => {
    await withFolder(async (root) => {
      for (const seed of [1, 2, 3]) {
        await writeFiles(root, String(seed), { seed, ...(seed === 2 ? options : {}) });
      }
      const { report, kinds } = await found(root, [1, 2, 3].map((n) => `${n}l.png,${n}r.png,300,0.1`));
      assertEquals(kinds, { [kind]: 1 });
      assertStringIncludes(report.problems.get(kind as DataProblem)![0], "2l.png: ");
    });
  });
}

Deno.test("rows that turn are seen although their mean is 0", async () => {
  await withFolder(async (root) => {
    await writeFiles(root, "1", { rowOffset: (x) => (x - width / 2) / 40 });
    assertEquals((await found(root, ["1l.png,1r.png,300,0.1"])).kinds, { rows: 1 });
  });
});

Deno.test("files that are absent, damaged, the same, of other sizes or of other scenes", async () => {
  await withFolder(async (root) => {
    for (const seed of [1, 2, 3, 4, 5]) await writeFiles(root, String(seed), { seed });
    await Deno.writeFile(join(root, "2r.png"), (await Deno.readFile(join(root, "2r.png"))).subarray(0, 5000));
    await writeRgb(join(root, "3r.png"), { width: 8, height: 8, data: new Uint8Array(192).fill(9) });
    const rows = ["1l.png,none.png", "2l.png,2r.png", "3l.png,3r.png", "4l.png,4l.png", "5l.png,1r.png"];
    const { report, kinds } = await found(root, rows.map((row) => `${row},300,0.1`));
    assertEquals(kinds, { unreadable: 2, sizes: 1, same: 1, unmatched: 1 });
    assertStringIncludes(report.problems.get("unreadable")![0], "1l.png: no right image none.png");
    assertStringIncludes(report.problems.get("unreadable")![1], "truncated or damaged");
  });
});

Deno.test("rows listed twice, by name or by content, within a part or across parts; cameras in mm", async () => {
  await withFolder(async (root) => {
    for (const seed of [1, 2]) await writeFiles(root, String(seed), { seed });
    for (const side of ["l", "r"]) {
      await Deno.copyFile(join(root, `1${side}.png`), join(root, `copy${side}.png`));
    }
    const rows = [
      "1l.png,1r.png,300,0.1,train",
      "1l.png,1r.png,300,0.1,train",
      "copyl.png,copyr.png,300,0.1,val",
      "2l.png,2r.png,2.8,120,train",
      "2l.png,2r.png,2.8,120,test",
    ];
    const { report, kinds } = await found(root, rows, "left,right,focal_px,baseline_m,split");
    assertEquals(kinds, { duplicate: 1, overlap: 2, focal: 1, baseline: 2 });
    assertStringIncludes(report.problems.get("baseline")![0], "0.12 if that is mm");
    assertEquals([...report.parts], [["train", 3], ["val", 1], ["test", 1]]);
  });
});

Deno.test("true disparities in other units than px · 256 are seen", async () => {
  await withFolder(async (root) => {
    await writeFiles(root, "1");
    const write = (factor: number) =>
      writeGray16(join(root, "d.png"), {
        width,
        height,
        data: Uint16Array.from(
          { length: width * height },
          (_, i) => factor * (4 + Math.floor(i / width) / 6),
        ),
      });
    const check = () =>
      found(root, ["1l.png,1r.png,300,0.1,d.png"], "left,right,focal_px,baseline_m,disparity");
    await write(256);
    assertEquals((await check()).kinds, {});
    await write(1000);
    const { report, kinds } = await check();
    assertEquals(kinds, { truth: 1 });
    assertStringIncludes(report.problems.get("truth")![0], "disparity is 3.9 × what the images match");
  });
});

Deno.test("check-data prints a table with what to do, draws a panel, and ends with status 1 where something is wrong", async () => {
  await withFolder(async (root) => {
    await writeFiles(root, "1");
    await writeFiles(root, "2", { seed: 2, ...FAULTS.swapped });
    const manifest = join(root, "m.csv"), panel = join(root, "panel.png");
    const rows = ["left,right,focal_px,baseline_m", "1l.png,1r.png,300,0.1", "2l.png,2r.png,300,0.1"];
    await Deno.writeTextFile(manifest, rows.join("\n"));
    const wrong = await task("check-data", manifest, "--panel", panel);
    assertEquals(wrong.code, 1, wrong.err);
    assertStringIncludes(wrong.out, "swapped: exchange the columns left and right");
    assertStringIncludes(wrong.out, "2l.png: median disparity -");
    assert((await Deno.stat(panel)).size > 10_000);
    await Deno.writeTextFile(manifest, rows.slice(0, 2).join("\n"));
    const sound = await task("check-data", manifest);
    assertEquals([sound.code, sound.out.includes("nothing is wrong")], [0, true], sound.err);
  });
});
