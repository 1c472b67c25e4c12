/**
 * The two errors a user is meant to read. Both carry a message that says what was being done, what was found,
 * what was wanted and how to mend it; tasks print it without a stack trace.
 *
 * @module
 */

/** Something could not be done: a bad file, a missing library, a full disk. Tasks exit with status 1. */
export class CyclopsError extends Error {
  /** As error messages show it. */
  override name = "CyclopsError";
}

/** The call itself was wrong: an unknown option, a value out of range. Tasks exit with status 2. */
export class UsageError extends CyclopsError {
  /** As error messages show it. */
  override name = "UsageError";
}

/** The message of whatever was thrown, without the class name. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
