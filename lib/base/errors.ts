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

/** An error on its way between threads, where it would lose its class. */
export interface SentError {
  /** Its message. */
  readonly message: string;
  /** Whether it is a {@linkcode CyclopsError}, which a user is meant to read. */
  readonly expected: boolean;
  /** Where it was thrown. */
  readonly stack?: string;
}

/** Makes whatever was thrown ready to be posted; {@linkcode receiveError} is the other end. */
export function sendError(error: unknown): SentError {
  const stack = error instanceof Error ? error.stack : undefined;
  return { message: messageOf(error), expected: error instanceof CyclopsError, stack };
}

/** The error that was posted. */
export function receiveError({ message, expected, stack }: SentError): Error {
  const error = expected ? new CyclopsError(message) : new Error(message);
  error.stack = stack;
  return error;
}
