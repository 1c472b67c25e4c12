/**
 * A headless Chromium, led over the DevTools protocol: just enough to use a page as a person would.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError, messageOf } from "../../lib/base/errors.ts";
import { exists } from "../../lib/base/files.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/** The path of a Chromium or Chrome: CYCLOPS_CHROMIUM, or one on the PATH; `undefined` where there is none. */
export async function findChromium(): Promise<string | undefined> {
  const given = Deno.env.get("CYCLOPS_CHROMIUM");
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter(Boolean);
  const candidates = given ? [given] : folders.flatMap((folder) => NAMES.map((name) => join(folder, name)));
  for (const path of candidates) if (await exists(path)) return path;
  return undefined;
}

/** An answer or an event of the protocol. */
interface Message {
  readonly id?: number;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** A running browser with one page. Dispose it to end it. */
export class Browser implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  #session: string | undefined;
  #last = 0;

  private constructor(process: Deno.ChildProcess, profile: string, socket: WebSocket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => {
      for (const { reject } of this.#waiting.values()) reject(new CyclopsError("The browser has ended"));
    };
  }

  /**
   * Starts a browser with an empty profile.
   *
   * @param path Of the program.
   * @param size Of the page, px.
   * @throws {CyclopsError} When it does not start.
   */
  static async launch(
    path: string,
    size: { readonly width: number; readonly height: number },
  ): Promise<Browser> {
    const profile = await Deno.makeTempDir({ prefix: "cyclops-browser-" });
    const args = [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
    ];
    let process: Deno.ChildProcess | undefined;
    try {
      process = new Deno.Command(path, {
        args: [...args, "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      const socket = new WebSocket(await debuggingAddress(process));
      await new Promise((resolve, reject) => {
        socket.onopen = resolve;
        socket.onerror = reject;
      });
      const browser = new Browser(process, profile, socket);
      const { targetId } = await browser.#send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await browser.#send("Target.attachToTarget", { targetId, flatten: true });
      browser.#session = sessionId as string;
      await browser.resize(size);
      return browser;
    } catch (error) {
      if (process) {
        end(process);
        await process.status;
      }
      await Deno.remove(profile, { recursive: true }).catch(() => {});
      throw new CyclopsError(`Cannot start ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  #receive({ id, result = {}, error }: Message): void {
    const waiting = id !== undefined && this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    if (error) waiting.reject(new CyclopsError(`The browser refuses: ${error.message}`));
    else waiting.resolve(result);
  }

  #send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const waiting = Promise.withResolvers<Record<string, unknown>>();
    this.#waiting.set(++this.#last, waiting);
    this.#socket.send(JSON.stringify({ id: this.#last, method, params, sessionId: this.#session }));
    return waiting.promise;
  }

  /** Sets the page's size, px. */
  async resize({ width, height }: { readonly width: number; readonly height: number }): Promise<void> {
    await this.#send("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
  }

  /** Opens an address. */
  async open(url: string): Promise<void> {
    await this.#send("Page.navigate", { url });
  }

  /**
   * The value of a JavaScript expression in the page; promises are awaited, the value must be JSON.
   *
   * @throws {CyclopsError} When it throws.
   */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    }) as {
      result: { value: T };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (!exceptionDetails) return result.value;
    throw new CyclopsError(
      `The page fails: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`,
    );
  }

  /**
   * Waits until an expression is true in the page.
   *
   * @param what It is waited for, for the error.
   * @param seconds How long at most.
   * @throws {CyclopsError} When it does not become true in time.
   */
  async waitFor(what: string, expression: string, seconds: number): Promise<void> {
    const deadline = performance.now() + seconds * 1000;
    while (performance.now() < deadline) {
      if (await this.evaluate<boolean>(`Boolean(${expression})`).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new CyclopsError(`The page does not show ${what} within ${seconds} s`);
  }

  /**
   * Moves the mouse to an element and clicks it.
   *
   * @param element A JavaScript expression for it.
   * @throws {CyclopsError} When there is none.
   */
  async click(what: string, element: string): Promise<void> {
    await this.waitFor(what, element, 10);
    const { x, y } = await this.evaluate<{ x: number; y: number }>(
      `(({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 }))((${element}).getBoundingClientRect())`,
    );
    const button = { x, y, button: "left", clickCount: 1 };
    await this.#send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
    await this.#send("Input.dispatchMouseEvent", { type: "mousePressed", ...button });
    await this.#send("Input.dispatchMouseEvent", { type: "mouseReleased", ...button });
  }

  /** The page as the bytes of a PNG file. */
  async screenshot(): Promise<Uint8Array> {
    const { data } = await this.#send("Page.captureScreenshot", { format: "png" });
    return Uint8Array.fromBase64(data as string);
  }

  /** Ends the browser and removes its profile. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.addEventListener("close", resolve));
    await this.#send("Browser.close").catch(() => {});
    await closed;
    await this.#process.status;
    await Deno.remove(this.#profile, { recursive: true }).catch(() => {});
  }
}

/** Ends a process that may have ended already. */
function end(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGKILL");
  } catch {
    // It has.
  }
}

/** Reads the address that the browser prints when it is ready. */
async function debuggingAddress(process: Deno.ChildProcess): Promise<string> {
  let said = "";
  const reader = process.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => end(process), 30_000);
  try {
    for (let { value } = await reader.read(); value !== undefined; { value } = await reader.read()) {
      said += value;
      const found = said.match(/DevTools listening on (ws:\S+)/);
      if (found) {
        drain(reader);
        return found[1];
      }
    }
    throw new CyclopsError(`it ended and said: ${said.trim().split("\n").at(-1)}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Reads on, so that the browser never waits for somebody to read what it says. */
async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await reader.read().catch(() => ({ done: true }))).done);
}
