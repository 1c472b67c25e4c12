/**
 * How objects show themselves in a notebook, and how to ask whether there is one.
 *
 * @module
 */
/** The method a notebook's kernel looks for on a cell's last value. */
export const JUPYTER_DISPLAY: unique symbol = Symbol.for("Jupyter.display") as never;

/** One output in several forms; the viewer takes the richest it knows. Binary forms are base64 text. */
export type MimeBundle = Readonly<Record<string, string | Readonly<Record<string, unknown>>>>;

/** Anything that renders itself in a notebook. */
export interface Displayable {
  /** The output in all forms it has. */
  [JUPYTER_DISPLAY](): MimeBundle | Promise<MimeBundle>;
}

/** The part of `Deno.jupyter` that is used here. */
export interface JupyterApi {
  /** Shows a value, or changes the output that has the given id. */
  display(value: unknown, options?: { raw?: boolean; display_id?: string; update?: boolean }): Promise<void>;
  /** Sends a message of the Jupyter protocol to all that watch the kernel. */
  broadcast(
    type: string,
    content: Record<string, unknown>,
    extra?: { metadata?: Record<string, unknown> },
  ): Promise<void>;
}

/** The notebook kernel's interface, or undefined outside one, where merely reading it throws. */
export function jupyter(): JupyterApi | undefined {
  try {
    const found: unknown = Reflect.get(Deno, "jupyter");
    return found ? found as JupyterApi : undefined;
  } catch {
    return undefined;
  }
}

/** True in a notebook's kernel. */
export function inNotebook(): boolean {
  return jupyter() !== undefined;
}

/** Escapes a text for HTML, in content and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Escapes a text for Markdown, tables included. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_[\]<>|]/g, (c) => c === "<" ? "&lt;" : `\\${c}`).replace(/\s*\n\s*/g, " ");
}

/** A PNG's bytes as a data URI, for an HTML file that needs no other. */
export function pngDataUri(png: Uint8Array): string {
  return `data:image/png;base64,${png.toBase64()}`;
}
