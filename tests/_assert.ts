/**
 * Assertions in @std/assert's names over `node:assert/strict`, so that tests need no registry.
 *
 * @module
 */
import nodeAssert from "node:assert/strict";

/** What a failed assertion throws. */
export class AssertionError extends nodeAssert.AssertionError {
  constructor(message: string) {
    super({ message });
  }
}
// deno-lint-ignore no-explicit-any
type Class<T> = abstract new (...args: any[]) => T;

export function assert(value: unknown, message = "expected a true value"): asserts value {
  if (!value) throw new AssertionError(message);
}

export const assertEquals = nodeAssert.deepEqual as <T>(actual: T, expected: T, message?: string) => void;
export const assertNotEquals = nodeAssert.notDeepEqual as <T>(
  actual: T,
  expected: T,
  message?: string,
) => void;
export const assertStrictEquals = nodeAssert.equal as <T>(actual: T, expected: T, message?: string) => void;
export const assertMatch = nodeAssert.match as (actual: string, expected: RegExp) => void;
export const assertNotMatch = nodeAssert.doesNotMatch as (actual: string, expected: RegExp) => void;
export function assertLess(a: number, b: number, message = ""): void {
  assert(a < b, `expected ${a} < ${b} ${message}`);
}

export function assertLessOrEqual(a: number, b: number, message = ""): void {
  assert(a <= b, `expected ${a} <= ${b} ${message}`);
}

export function assertGreater(a: number, b: number, message = ""): void {
  assert(a > b, `expected ${a} > ${b} ${message}`);
}

export function assertGreaterOrEqual(a: number, b: number, message = ""): void {
  assert(a >= b, `expected ${a} >= ${b} ${message}`);
}

export function assertExists<T>(value: T, message?: string): asserts value is NonNullable<T> {
  assert(value !== undefined && value !== null, message ?? "expected a value");
}

export function assertInstanceOf<T>(value: unknown, type: Class<T>): asserts value is T {
  assert(value instanceof type, `expected ${type.name}, got ${value?.constructor?.name ?? value}`);
}

export function assertStringIncludes(actual: string, expected: string): void {
  assert(
    actual.includes(expected),
    `expected ${JSON.stringify(actual)} to include ${JSON.stringify(expected)}`,
  );
}

/** Absolute tolerance, or 1e-7 of the expected value. */
export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, message = ""): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  const off = Math.abs(actual - expected);
  assert(off <= allowed, `expected ${actual} within ${allowed} of ${expected}, off by ${off} ${message}`);
}

function checkError<E extends Error>(error: unknown, type?: Class<E>, includes?: string): E {
  if (!(error instanceof Error)) throw new AssertionError(`expected an Error, got ${error}`);
  if (type) assertInstanceOf(error, type);
  if (includes) assertStringIncludes(error.message, includes);
  return error as E;
}

export function assertThrows<E extends Error = Error>(
  run: () => unknown,
  type?: Class<E>,
  includes?: string,
  message = "",
): E {
  let result: unknown;
  try {
    result = run();
  } catch (error) {
    return checkError(error, type, includes);
  }
  throw new AssertionError(`expected an error, got ${result} ${message}`);
}

export async function assertRejects<E extends Error = Error>(
  run: () => PromiseLike<unknown>,
  type?: Class<E>,
  includes?: string,
  message = "",
): Promise<E> {
  let result: unknown;
  try {
    result = await run();
  } catch (error) {
    return checkError(error, type, includes);
  }
  throw new AssertionError(`expected a rejection, got ${result} ${message}`);
}
