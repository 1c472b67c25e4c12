/**
 * Points on a canvas: drawn, and turned by pointer and keys. Nothing here is Deno's or Node's: notebooks' and the demo's
 * pages run it.
 *
 * @module
 */
import type { Points } from "../data/points.ts";

/** Points about their center, which views rotate about. */
export interface CenteredPoints extends Pick<Points, "positions" | "colors" | "spacing"> {
  /** Distance of the center from the camera, m. */
  readonly depth: number;
}

/** Where the eye is, degrees: `yaw` to the right, `pitch` above the horizontal plane. */
export interface Eye {
  yaw: number;
  pitch: number;
  /** Its distance; 1 shows all. */
  zoom: number;
}

/** The points about the median of each axis. */
export function centerPoints(
  { positions, colors, spacing }: Pick<Points, "positions" | "colors" | "spacing">,
): CenteredPoints {
  const center = [0, 1, 2].map((axis) => {
    const values = positions.filter((_, i) => i % 3 === axis).sort();
    return values[values.length >> 1] ?? 0;
  });
  return { positions: positions.map((value, i) => value - center[i % 3]), colors, depth: center[2], spacing };
}

/**
 * Draws points, near ones over far ones. A browser runs its source text: it uses nothing but its arguments.
 *
 * @param image Three channels, or a canvas's four; its data are written.
 */
export function paintPoints(
  points: CenteredPoints,
  image: { readonly width: number; readonly height: number; readonly data: Uint8Array | Uint8ClampedArray },
  { yaw, pitch, zoom }: Eye,
): void {
  const { positions, colors, depth, spacing } = points, { width, height, data } = image;
  const distance = Math.max(1, depth) * 1.15 * zoom, focal = width * 0.8, largest = Math.max(9, width / 98);
  const depths = new Float32Array(width * height).fill(Infinity), channels = data.length / depths.length;
  const ground = [19, 21, 27, 255];
  for (let i = 0; i < data.length; i++) data[i] = ground[i % channels];
  const a = yaw * Math.PI / 180, b = pitch * Math.PI / 180;
  const cy = Math.cos(a), sy = Math.sin(a), cp = Math.cos(b), sp = Math.sin(b);
  for (let i = 0; i < positions.length; i += 3) {
    const x = positions[i], y = positions[i + 1], z = positions[i + 2];
    // First about the vertical axis, then about the eye's horizontal one.
    const ex = cy * x + sy * z, ahead = cy * z - sy * x;
    const ey = cp * y - sp * ahead, ez = sp * y + cp * ahead + distance;
    if (ez < 0.2) continue;
    // As large as its gap to the next point, so that surfaces close.
    const reach = Math.min(largest, Math.max(1, 1.5 * spacing * (z + depth) * focal / ez));
    const side = Math.round(reach);
    const u0 = Math.round(width / 2 + focal * ex / ez - reach / 2);
    const v0 = Math.round(height / 2 + focal * ey / ez - reach / 2);
    for (let v = Math.max(0, v0); v < Math.min(height, v0 + side); v++) {
      for (let u = Math.max(0, u0); u < Math.min(width, u0 + side); u++) {
        const at = v * width + u;
        if (ez >= depths[at]) continue;
        depths[at] = ez;
        for (let c = 0; c < 3; c++) data[at * channels + c] = colors[i + c];
      }
    }
  }
}

/**
 * Lets pointer and keys turn points on a canvas: drag or arrows, wheel or plus and minus, double click or Home. A browser
 * runs its source text, too.
 *
 * @param canvas An HTMLCanvasElement; what it showed before is forgotten.
 * @param eye Changes as it turns.
 * @param paint {@linkcode paintPoints}.
 */
export function turnPoints(
  // deno-lint-ignore no-explicit-any -- there is no page in Deno's types
  canvas: any,
  points: CenteredPoints,
  eye: Eye,
  paint: typeof paintPoints,
): void {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const start = { ...eye };
  let frame = 0, from: readonly [number, number] | undefined;
  const draw = () => {
    frame ||= canvas.ownerDocument.defaultView.requestAnimationFrame(() => {
      frame = 0;
      paint(points, image, eye);
      context.putImageData(image, 0, 0);
    });
  };
  const turn = (right: number, up: number, farther = 1) => {
    eye.yaw -= right;
    eye.pitch = Math.min(89, Math.max(-30, eye.pitch + up));
    eye.zoom = Math.min(4, Math.max(0.15, eye.zoom * farther));
    draw();
  };
  const reset = () => {
    Object.assign(eye, start);
    draw();
  };
  const keys: Record<string, () => void> = {
    ArrowLeft: () => turn(5, 0),
    ArrowRight: () => turn(-5, 0),
    ArrowUp: () => turn(0, 5),
    ArrowDown: () => turn(0, -5),
    "+": () => turn(0, 0, 0.9),
    "-": () => turn(0, 0, 1.1),
    Home: reset,
  };
  canvas.onkeydown = (e: { readonly key: string; preventDefault(): void }) => {
    if (!keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  };
  canvas.onpointerdown = (
    e: { readonly clientX: number; readonly clientY: number; readonly pointerId: number },
  ) => {
    from = [e.clientX, e.clientY];
    canvas.setPointerCapture(e.pointerId);
    canvas.style.cursor = "grabbing";
  };
  canvas.onpointermove = (e: { readonly clientX: number; readonly clientY: number }) => {
    if (!from) return;
    turn(0.3 * (e.clientX - from[0]), 0.3 * (e.clientY - from[1]));
    from = [e.clientX, e.clientY];
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    from = undefined;
    canvas.style.cursor = "grab";
  };
  canvas.ondblclick = reset;
  canvas.onwheel = (e: { readonly deltaY: number; preventDefault(): void }) => {
    e.preventDefault();
    turn(0, 0, Math.exp(e.deltaY * 0.001));
  };
  draw();
}
