/**
 * The two errors that are meant for the user. Their messages say what was being done, what was found, what was expected
 * and how to fix it; tasks print them without a stack trace.
 *
 * @module
 */

/** Escapes control and direction characters, so that text from a file cannot drive the terminal; lines stay lines. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (c) => {
    if (c === "\n" || c === "\t") return c;
    const code = c.charCodeAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code}`;
  });
}

/** Something could not be done: a bad file, a missing library, a full disk. Tasks exit with status 1. */
export class CyclopsError extends Error {
  /** The class, as error messages show it. */
  override name = "CyclopsError";

  /** Makes the message {@linkcode printable}: it may quote what a file holds. */
  constructor(message: string, options?: ErrorOptions) {
    super(printable(message), options);
  }
}

/** The call itself was wrong: an unknown option, a value out of range. Tasks exit with status 2. */
export class UsageError extends CyclopsError {
  /** The class, as error messages show it. */
  override name = "UsageError";
}

/** The message of whatever was thrown, without the class name. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An error on its way between threads, where it would lose its class. */
export interface SentError {
  readonly message: string;
  readonly expected: boolean;
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
