/**
 * `deno task check-data`: what is wrong with a manifest or a folder of stereo pairs, before anything is trained on it.
 *
 * @module
 */
import { join } from "@std/path";
import { UsageError } from "../lib/base/errors.ts";
import { integer, text } from "../lib/base/options.ts";
import { median } from "../lib/base/random.ts";
import { Progress, terminalColumns, wrap } from "../lib/base/terminal.ts";
import { disparityBar } from "../lib/charts/depth.ts";
import { colorAt, disparityScale } from "../lib/charts/colormap.ts";
import { grid, type GridRow, type Picture } from "../lib/charts/picture.ts";
import { Table } from "../lib/charts/table.ts";
import { checkPairData, DATA_PROBLEMS, type DataReport, type PairCheck } from "../lib/data/check.ts";
import { readRgb } from "../lib/data/image.ts";
import { datasetOptions } from "../lib/data/dataset.ts";
import { MAX_DISPARITY } from "../lib/models/architecture.ts";
import { runTask, userPath } from "./_task.ts";

/** Examples of a problem that are listed, and pairs that the panel shows. */
const EXAMPLES = 3, SHOWN = 4;

await runTask({
  name: "check-data",
  summary:
    "Checks a manifest or a folder of stereo pairs: files, sizes, cameras, duplicates; and, by matching corners of\n" +
    "both images, swapped views, rows that do not agree, the range of disparities, exposure and color.\n" +
    "Status 1 when something is wrong.",
  options: {
    split: { ...datasetOptions.split, help: "How a folder is split; see train." },
    pairs: integer({
      default: 200,
      min: 1,
      help: "Pairs to match, spread over the list; of the others only files and cameras are checked.",
    }),
    panel: text({ value: "FILE.png", help: "Draw pairs with their matches: first those with problems." }),
  },
  positionals: "FILE|DIR",
  examples: [
    "deno task check-data rig/pairs.csv --panel rig.png",
    "deno task check-data kitti --split eigen",
  ],
}, async ({ split, pairs: match, panel }, words) => {
  if (words.length !== 1) {
    throw new UsageError(`Cannot check data: found ${words.length} names, expected one manifest or folder`);
  }
  const data = userPath(words[0]);
  let progress: Progress | undefined;
  const report = await checkPairData(data, {
    split,
    match,
    maxDisparity: MAX_DISPARITY,
    onProgress: (done, total) =>
      (progress ??= new Progress({ label: "check", total, unit: "pairs" })).update(done),
  });
  progress?.finish();
  console.log(describe(data, report));
  if (panel !== undefined && report.checked.length) await (await draw(report)).writePng(panel);
  return report.problems.size ? 1 : 0;
});

/** A value's spread over the checked pairs, without what corners that were matched wrongly say. */
function range(values: readonly number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b),
    at = (q: number) => sorted[Math.floor(q * (sorted.length - 1))];
  return `${at(0.02).toFixed(digits)} to ${at(0.98).toFixed(digits)}`;
}

function describe(data: string, { parts, problems, checked, leftOnly }: DataReport): string {
  const counts = [...parts].map(([part, count]) => `${count} ${part}`).join(", ");
  const lines = [`${data}: ${counts} pairs, ${checked.length} of them matched`];
  if (leftOnly) lines.push(`${leftOnly} test pairs have no right image: enough to evaluate`);
  const sound = checked.filter(({ problems, matches }) => problems.length === 0 && matches.length);
  if (sound.length) {
    const share = sound.flatMap(({ matches, size }) => matches.map((m) => 100 * m.disparity / size.width));
    const depths = sound.flatMap(({ matches, focalPx, baselineM }) =>
      focalPx && baselineM ? matches.map((m) => focalPx * baselineM / Math.max(m.disparity, 1e-3)) : []
    );
    const rows = median(sound.flatMap(({ matches }) => matches.map((m) => Math.abs(m.rowOffset))));
    const gain = median(sound.map(({ gains }) => gains[1]));
    lines.push(
      `in the ${sound.length} sound ones: disparities ${range(share, 1)} % of the width` +
        `${depths.length ? `, depths ${range(depths, 1)} m` : ""}; rows agree to ${rows.toFixed(1)} px; ` +
        `brightness right/left ${gain.toFixed(2)}`,
    );
  }
  const columns = terminalColumns(), out = lines.flatMap((line) => wrap(line, columns));
  if (problems.size === 0) return [...out, "", "nothing is wrong"].join("\n");
  const kinds = (Object.keys(DATA_PROBLEMS) as (keyof typeof DATA_PROBLEMS)[]).filter((kind) =>
    problems.has(kind)
  );
  const table = new Table({
    corner: "problem",
    columns: [{ key: "pairs", label: "pairs" }, { key: "first", label: "first example" }],
    rows: kinds.map((kind) => ({
      name: kind,
      cells: { pairs: problems.get(kind)!.length, first: shorten(problems.get(kind)![0], columns - 24) },
    })),
  });
  out.push("", table.text(columns));
  for (const kind of kinds) {
    const all = problems.get(kind)!;
    out.push("", ...wrap(`${kind}: ${DATA_PROBLEMS[kind]}`, columns));
    out.push(...all.slice(0, EXAMPLES).map((example) => `  ${example}`));
    if (all.length > EXAMPLES) out.push(`  … and ${all.length - EXAMPLES} more`);
  }
  return out.join("\n");
}

/** The end of a line is what tells paths apart. */
function shorten(line: string, columns: number): string {
  return line.length <= columns ? line : `…${line.slice(line.length + 1 - columns)}`;
}

/** Left, right, the matches' disparities, and by how much their rows differ, ten times enlarged. */
async function draw({ root, checked }: DataReport): Promise<Picture> {
  const wrong = checked.filter(({ problems }) => problems.length);
  const sound = checked.filter(({ problems }) => problems.length === 0);
  const spread = sound.filter((_, i) => i % Math.ceil(sound.length / SHOWN) === 0);
  const shown = [...wrong, ...spread].slice(0, SHOWN);
  const most = Math.max(
    ...shown.flatMap(({ matches, size }) => matches.map((m) => Math.abs(m.disparity) / size.width)),
  );
  const scale = disparityScale(Number.isFinite(most) ? most : 1);
  const rows = await Promise.all(shown.map(async (pair): Promise<GridRow> => {
    const { left, right, matches, size, problems } = pair;
    const [a, b] = await Promise.all([left, right].map((name) => readRgb(join(root, name))));
    const dim = { ...a, data: a.data.map((value) => value / 2) };
    const r = size.width / 120;
    const dots = matches.map(({ x, y, disparity }) => {
      const color = disparity < 0 ? [90, 160, 255] : colorAt(scale.map, disparity / size.width / scale.max);
      return `<circle cx="${x}" cy="${y}" r="${r}" fill="rgb(${color.join()})" stroke="#fff" stroke-width="${
        r / 5
      }"/>`;
    });
    return {
      cells: [{ image: a }, { image: b }, { image: dim, drawing: dots.join("") }, {
        image: dim,
        drawing: rowDrawing(pair, r),
      }],
      name: left,
      note: problems.length ? problems.join(", ") : `${matches.length} matches`,
    };
  }));
  return grid(rows, {
    title: "Stereo pairs and their matches",
    headings: ["left", "right", "disparity (blue: negative)", "row offset × 10 (red: too large)"],
    bars: [{ ...disparityBar(scale, shown[0].size.width), column: 2, columns: 1 }],
    width: 1280,
  });
}

function rowDrawing({ matches, size }: PairCheck, r: number): string {
  return matches.map(({ x, y, rowOffset }) => {
    const color = Math.abs(rowOffset) > size.width / 1000 ? "#ff5040" : "#40ff80";
    return `<circle cx="${x}" cy="${y}" r="${r / 2}" fill="${color}"/>` +
      `<line x1="${x}" y1="${y}" x2="${x}" y2="${y + 10 * rowOffset}" stroke="${color}" stroke-width="${
        r / 2
      }"/>`;
  }).join("");
}
