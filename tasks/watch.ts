/**
 * `deno task watch`: a run on the terminal and in files, redrawn while it is trained.
 *
 * @module
 */
import { UsageError } from "../lib/base/errors.ts";
import { writeAtomic } from "../lib/base/files.ts";
import { flag, number, type OptionsOf, text } from "../lib/base/options.ts";
import { shortDuration, styled } from "../lib/base/terminal.ts";
import { lossCurves } from "../lib/charts/curves.ts";
import { reportHtml } from "../lib/charts/report.ts";
import { type RunView, type StepValue, viewRun } from "./_run_view.ts";
import { runTask, userPath } from "./_task.ts";

const [bold, cyan, dim, red, yellow] = (["bold", "cyan", "dim", "red", "yellow"] as const)
  .map((style) => (text: string) => styled(style, text));

/** The options of {@linkcode watch}. */
export const watchOptions = {
  every: number({ default: 1, min: 0.1, max: 3600, unit: "s", help: "Time between updates." }),
  once: flag({ help: "Show the run as it is now, and exit." }),
  html: text({
    value: "FILE",
    help: "Write the curves as a page that reloads itself during the run.",
  }),
  png: text({ value: "FILE", help: "Write the curves as a PNG image." }),
  svg: text({ value: "FILE", help: "Write the curves as an SVG image." }),
} as const;

type WatchOptions = OptionsOf<typeof watchOptions>;

const BARS = "▁▂▃▄▅▆▇█";

/**
 * Values as a row of bars.
 *
 * @param width Maximum columns; more values are averaged.
 * @returns Empty where there are fewer than two values.
 */
export function sparkline(values: readonly number[], width: number): string {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 2 || width < 1) return "";
  const count = Math.min(width, finite.length);
  const means = Array.from({ length: count }, (_, i) => {
    const part = finite.slice(
      Math.floor(i * finite.length / count),
      Math.floor((i + 1) * finite.length / count),
    );
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
  const low = Math.min(...means), range = Math.max(...means) - low;
  return means.map((mean) => BARS[range > 0 ? Math.round((mean - low) / range * (BARS.length - 1)) : 0]).join(
    "",
  );
}

/** "cycleConsistency" → "cycle consistency". */
function words(name: string): string {
  return name === "absRel"
    ? "abs rel"
    : name === "rmse"
    ? "RMSE, m"
    : name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);
}

function figures(value: number): string {
  return Math.abs(value) >= 1e-3 || value === 0
    ? String(Number(value.toPrecision(4)))
    : value.toExponential(2);
}

/** A piece of a line and its style. */
type Piece = readonly [text: string, paint?: (text: string) => string];

/** Maximum warnings shown; the file has all of them. */
const WARNINGS = 3;
/** Widths of the columns of names and numbers. */
const NAME = 24, FIGURES = 10;
/** Milliseconds after which a run's silence is mentioned. */
const SILENCE = 30_000;

/**
 * A run as lines of text.
 *
 * @param columns Maximum columns per line.
 */
export function runLines(view: RunView, columns: number): string[] {
  const { state, folder, phase } = view;
  const lines: Piece[][] = [];
  const curve = (name: string, values: readonly StepValue[], note = "") => {
    const head = `  ${words(name).padEnd(NAME - 2)}${figures(values.at(-1)!.value).padEnd(FIGURES)}${note}`;
    const bars = sparkline(values.map(({ value }) => value), Math.min(48, columns - head.length - 2));
    lines.push([[head], [bars && `  ${bars}`, cyan]]);
  };

  const { step, steps, rate } = state;
  lines.push([[state.stage ?? "run", bold], [`  ${folder}`, dim]]);
  const facts = [steps === undefined ? `${step} steps` : `${step}/${steps} steps`];
  if (steps) facts.push(`${Math.floor(100 * step / steps)} %`);
  if (rate) facts.push(rate >= 1 ? `${rate.toFixed(1)}/s` : `${(1 / rate).toFixed(1)} s each`);
  if (phase === "ended") facts.push(state.ending!);
  else if (phase === "killed") facts.push("killed: continue with --resume");
  else if (steps && rate && step < steps) facts.push(`${shortDuration((steps - step) / rate * 1000)} left`);
  if (phase === "running" && view.silentFor > SILENCE) {
    facts.push(`no news for ${shortDuration(view.silentFor)}`);
  }
  const filled = steps ? Math.round(24 * Math.min(1, step / steps)) : 0;
  const bar = steps ? `${"█".repeat(filled)}${"░".repeat(24 - filled)}  ` : "";
  lines.push([[bar, cyan], [facts.join("  ")]]);

  if (state.loss.length) {
    lines.push([], [["training", dim]]);
    curve("loss", state.loss);
    // A single term is the loss.
    if (state.terms.size > 1) { for (const [name, values] of state.terms) curve(name, values); }
  }
  if (state.validation.size) {
    lines.push([], [["validation", dim]]);
    const order = [...state.validation].sort(([a], [b]) => Number(b === "absRel") - Number(a === "absRel"));
    for (const [name, values] of order) {
      const best = values.reduce((a, b) => b.value < a.value ? b : a);
      curve(name, values, `best ${figures(best.value)} at ${best.step}`);
    }
  }
  const { learningRate, disparityMean, disparityDeviation, residual } = state.numbers;
  const rest: string[] = [];
  if (learningRate !== undefined) rest.push(`learning rate ${figures(learningRate)}`);
  if (disparityMean !== undefined) {
    rest.push(`disparity ${figures(disparityMean)} ± ${figures(disparityDeviation ?? 0)}`);
  }
  if (residual !== undefined) rest.push(`|residual| ${figures(residual)}`);
  if (rest.length) lines.push([], [[`  ${rest.join("   ")}`, dim]]);

  const shown = state.warnings.slice(-WARNINGS);
  if (shown.length) lines.push([]);
  if (state.warnings.length > shown.length) {
    lines.push([[`  ${state.warnings.length - shown.length} earlier warnings`, dim]]);
  }
  for (const { step, message } of shown) lines.push([[`  step ${step}: ${message}`, yellow]]);
  if (state.error) lines.push([], [[`  ${state.error}`, red]]);
  return lines.map((pieces) => paint(pieces, columns));
}

/** Cuts a line to its width, then styles it. */
function paint(pieces: readonly Piece[], columns: number): string {
  let left = columns, line = "";
  for (const [text, style = (t: string) => t] of pieces) {
    const kept = text.length > left ? `${text.slice(0, Math.max(0, left - 1))}…`.slice(0, left) : text;
    if (kept) line += style(kept);
    left -= kept.length;
  }
  return line;
}

/** One line for a log. */
function logLine({ state }: RunView): string {
  const absRel = state.validation.get("absRel")?.at(-1);
  return [
    `${state.stage ?? "run"}  ${state.step}${state.steps ? `/${state.steps}` : ""} steps`,
    state.loss.length ? `loss ${figures(state.loss.at(-1)!.value)}` : "",
    absRel ? `abs rel ${absRel.value.toFixed(4)} at ${absRel.step}` : "",
  ].filter(Boolean).join("  ");
}

/** Seconds after which a page reloads itself, and between updates of files. */
const RELOAD = 10;

/** Writes the files that the options name. */
async function writeFiles(view: RunView, { html, png, svg }: Partial<WatchOptions>): Promise<void> {
  if (!html && !png && !svg) return;
  const { state, folder, records, phase } = view;
  const title = `${state.stage ?? "training"}: ${folder}`;
  const chart = lossCurves(records, { title });
  if (svg) await chart.writeSvg(svg);
  if (png) await chart.writePng(png);
  if (!html) return;
  const page = await reportHtml({
    title,
    kicker: folder,
    sections: [
      { heading: "Curves", blocks: [chart] },
      { heading: "Now", blocks: [{ code: plainLines(view).join("\n") }] },
    ],
  });
  const reload = `<meta http-equiv="refresh" content="${RELOAD}">`;
  await writeAtomic(html, phase === "running" ? page.replace("<head>", `<head>\n${reload}`) : page);
}

function plainLines(view: RunView): string[] {
  // deno-lint-ignore no-control-regex
  return runLines(view, 110).map((line) => line.replace(/\x1b\[[0-9;]*m/g, ""));
}

/** Where {@linkcode watch} shows a run. */
export interface Screen {
  write(text: string): void;
  /** Whether lines can be overwritten. */
  readonly terminal: boolean;
  size(): { readonly columns: number; readonly rows: number };
}

/** Time to wait for the next run in a folder of several, ms. */
const NEXT_RUN = 30_000;

/**
 * Shows a run until it ends: on a terminal redrawn in place, else as a line every now and then.
 *
 * @param folder A run's folder, or one that holds several.
 * @returns The last view.
 * @throws {CyclopsError} When there is no run, or a file cannot be written.
 */
export async function watch(
  folder: string,
  options: WatchOptions,
  screen: Screen,
): Promise<RunView> {
  let drawn = 0, written = -Infinity, said = "", saidAt = -Infinity;
  while (true) {
    const view = await viewRun(folder);
    const one = view.folder === folder;
    // Of several runs in a row the next one may be about to begin.
    const over = options.once || view.phase !== "running" &&
        (one || view.state.ending !== "finished" || view.silentFor > NEXT_RUN);
    const now = performance.now();
    if (screen.terminal) {
      const { columns, rows } = screen.size();
      const lines = runLines(view, columns - 1).slice(0, Math.max(2, rows - 1));
      screen.write(`${drawn ? `\x1b[${drawn}A` : ""}\x1b[0J${lines.join("\n")}\n`);
      drawn = lines.length;
    } else if (over) screen.write(`${plainLines(view).join("\n")}\n`);
    else if (logLine(view) !== said && now - saidAt > RELOAD * 1000) {
      [said, saidAt] = [logLine(view), now];
      screen.write(`${said}\n`);
    }
    if (over || now - written > RELOAD * 1000) {
      written = now;
      await writeFiles(view, options);
    }
    if (over) return view;
    await new Promise((resolve) => setTimeout(resolve, options.every * 1000));
  }
}

/** Standard output. */
const SCREEN: Screen = {
  write: (text) => void Deno.stdout.writeSync(new TextEncoder().encode(text)),
  terminal: Deno.stdout.isTerminal(),
  size: () => {
    try {
      return Deno.consoleSize();
    } catch {
      return { columns: 80, rows: 24 };
    }
  },
};

if (import.meta.main) {
  await runTask({
    name: "watch",
    summary:
      "Shows a run during its training, in this process or in another one, until it ends: losses, validation, " +
      "time left, warnings. In a folder of several runs it shows the one that was written to last.",
    positionals: "RUN",
    options: watchOptions,
    examples: [
      "deno task watch runs/first",
      "deno task watch runs/whole --html curves.html",
      "deno task watch runs/first --once --png curves.png",
    ],
  }, async (options, folders) => {
    if (folders.length > 1) throw new UsageError(`Cannot watch ${folders.length} runs: one at a time`);
    const { phase, state } = await watch(
      folders.length ? userPath(folders[0]) : "runs/first",
      options,
      SCREEN,
    );
    return phase === "killed" || state.ending === "failed" ? 1 : 0;
  });
}
