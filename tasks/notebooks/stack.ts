/**
 * Where in a cell an error was thrown. The kernel transpiles each cell before it runs, which moves lines, and its stack
 * traces count in what came out of that; `deno transpile` moves them alike and tells how.
 *
 * @module
 */
import { join } from "@std/path";
import { codeCells, type Notebook } from "./notebook.ts";
import { runDeno } from "./static_check.ts";

/** A frame of a stack trace in a transpiled cell. */
interface Frame {
  /** Name of the function; empty outside of all. */
  readonly name: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/**
 * The cell and line that a stack trace of the kernel points to. The trace does not name cells: what lies outside of all
 * functions belongs to the cell that was running, a function to the last cell so far that declares its name.
 *
 * @param stack As the kernel gives it.
 * @param running Number of the cell that was running, from 1.
 * @returns From 1; without a line where the trace names no place in a cell.
 */
export async function placeOfError(
  stack: string,
  notebook: Notebook,
  running: number,
): Promise<{ readonly cell: number; readonly line?: number }> {
  const frames = [...stack.matchAll(/^\s+at (?:async )?(?:(\S+) )?\(?<anonymous>:(\d+):(\d+)\)?$/gm)]
    .map(([, name = "", line, column]): Frame => ({ name, line: Number(line), column: Number(column) }));
  const frame = frames.find(({ name }) => name === "") ?? frames[0];
  if (!frame) return { cell: running };
  const cells = codeCells(notebook).filter(({ number }) => number <= running);
  const declaring = frame.name && cells.findLast(({ source }) => declares(source, frame.name));
  const { number, source } = declaring || cells.at(-1)!;
  return { cell: number, line: await originalLine(source, frame) };
}

function declares(source: string, name: string): boolean {
  const last = RegExp.escape(name.split(".").at(-1)!);
  return new RegExp(
    `\\bfunction\\*?\\s+${last}\\b|\\b${last}\\s*(=|:)|^\\s*(async\\s+)?${last}\\s*\\(.*\\{`,
    "m",
  ).test(source);
}

async function originalLine(source: string, { line, column }: Frame): Promise<number | undefined> {
  const folder = await Deno.makeTempDir({ prefix: "cyclops-stack-" });
  try {
    const file = join(folder, "cell.ts"), emitted = join(folder, "cell.js");
    await Deno.writeTextFile(file, keepImports(source));
    const options = ["--no-config", "--source-map", "separate", "--output", emitted];
    if (!(await runDeno(["transpile", ...options, file])).success) return undefined;
    const { mappings } = JSON.parse(await Deno.readTextFile(`${emitted}.map`)) as { mappings: string };
    return sourceLine(mappings, line, line === 1 ? column - PREFIX.length : column);
  } catch {
    return undefined; // The cell's number has to do.
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * `deno transpile` drops imports that are not used in the cell itself. The kernel turns each into one statement: so does
 * this, without moving lines.
 */
function keepImports(source: string): string {
  return source.replace(/^import\s+(type\s)?[^;]*?["'][^"'\n]*["'];?/gm, (statement, type) => {
    const lines = "\n".repeat(statement.split("\n").length - 1);
    return type ? lines : `void 0;${lines}`;
  });
}

/** What the kernel puts before a transpiled cell. */
const PREFIX = '"use strict"; void 0;';

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * Looks a position up in a source map's mappings (source map format 3: per line of output, segments of base 64 VLQ
 * differences: output column, source, source line, source column).
 *
 * @param line Line of output, from 1. @param column Column of output, from 1.
 * @returns Line of the source, from 1.
 */
export function sourceLine(mappings: string, line: number, column: number): number | undefined {
  let original = 0;
  let found: number | undefined;
  for (const [i, segments] of mappings.split(";").entries()) {
    let output = 0;
    for (const segment of segments.split(",")) {
      const [outputStep, , lineStep] = decodeVlq(segment);
      if (lineStep === undefined) continue;
      output += outputStep;
      original += lineStep;
      if (i === line - 1 && (found === undefined || output < column)) found = original + 1;
    }
    if (i === line - 1) return found;
  }
  return undefined;
}

function decodeVlq(segment: string): number[] {
  const numbers: number[] = [];
  let value = 0, shift = 0;
  for (const letter of segment) {
    const digit = BASE64.indexOf(letter);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    value = shift = 0;
  }
  return numbers;
}
