import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "../_assert.ts";
import { StreetDrive, type StreetFrame } from "../../lib/street/mod.ts";
import { AZIMUTH_STEP, BEAMS, scan } from "../../lib/street/lidar.ts";
import { BASELINE, cameraView, intrinsics, scannerPose } from "../../lib/street/rig.ts";
import { buildScene } from "../../lib/street/scene.ts";

const width = 208, height = 64;
const plan = { seed: 11, drives: 9, frames: 3, height, width };
const { focal, cx, cy } = intrinsics(width, height);

/** Mean difference between the left picture and the right one warped by `scale` times the true disparity. */
function warpError(frame: StreetFrame, scale: number): { readonly error: number; readonly pixels: number } {
  const { left, right } = frame;
  let sum = 0, pixels = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const depth = left.depth[y * width + x];
      if (depth === 0) continue;
      const disparity = focal * BASELINE / depth, there = x - disparity;
      if (there < 1 || there > width - 2) continue;
      // Seen by both: the right camera has that very depth there, within a pixel's change.
      const near = Math.round(there), seen = right.depth[y * width + near];
      if (Math.abs(focal * BASELINE / seen - disparity) > 0.5 + 0.02 * disparity) continue;
      const at = x - scale * disparity;
      if (at < 0 || at > width - 2) continue;
      const i = Math.floor(at), f = at - i;
      for (let c = 0; c < 3; c++) {
        const o = 3 * (y * width + i) + c;
        const value = (1 - f) * right.rgb[o] + f * right.rgb[o + 3];
        sum += Math.abs(left.rgb[3 * (y * width + x) + c] - value);
      }
      pixels++;
    }
  }
  return { error: sum / (3 * pixels), pixels };
}

Deno.test("the right picture, warped by the true disparity, is the left one where both see the same", () => {
  for (const drive of [1, 2, 3]) {
    const frame = new StreetDrive(plan, drive).frame(1);
    const right = warpError(frame, 1), wrong = warpError(frame, 0.7), other = warpError(frame, 1.3);
    assert(right.pixels > 0.4 * width * height, `drive ${drive}: only ${right.pixels} pixels seen by both`);
    assert(right.error < 10, `drive ${drive}: ${right.error} of 255`);
    const ratio = Math.min(wrong.error, other.error) / right.error;
    assert(ratio > 1.4, `drive ${drive}: the error of a wrong disparity is only ${ratio} times as large`);
  }
});

Deno.test("laser points fall on the dense depth of the left camera", () => {
  for (const drive of [1, 5, 6]) {
    const scene = buildScene(plan.seed, drive, plan.frames),
      { left, points } = new StreetDrive(plan, drive).frame(2);
    scene.moveTo(2);
    const pose = scene.pose(2), view = cameraView(pose, 2, width, height), scanner = scannerPose(pose);
    let seen = 0, agree = 0;
    for (let i = 0; i < points.length; i += 4) {
      const world = scanner.origin.map((o, k) =>
        o + points[i] * scanner.axes[0][k] + points[i + 1] * scanner.axes[1][k] +
        points[i + 2] * scanner.axes[2][k]
      );
      const d = world.map((v, k) => v - view.center[k]);
      const along = (axis: readonly number[]) => axis[0] * d[0] + axis[1] * d[1] + axis[2] * d[2];
      const z = along(view.forward),
        x = Math.round(focal * along(view.right) / z + cx),
        y = Math.round(focal * along(view.down) / z + cy);
      if (z < 1 || x < 1 || y < 1 || x >= width - 1 || y >= height - 1) continue;
      let low = Infinity, high = 0;
      for (let b = -1; b <= 1; b++) {
        for (let a = -1; a <= 1; a++) {
          const depth = left.depth[(y + b) * width + x + a] || Infinity;
          low = Math.min(low, depth);
          high = Math.max(high, depth);
        }
      }
      seen++;
      if (z > low - 0.1 - 0.01 * z && z < high + 0.1 + 0.01 * z) agree++;
    }
    assert(seen > 3000, `drive ${drive}: ${seen} points before the camera`);
    // The scanner stands elsewhere, so that it sees some things that are hidden from the camera.
    assert(agree > 0.95 * seen, `drive ${drive}: ${agree} of ${seen} points agree`);
  }
});

Deno.test("the scanner's points lie on its beams, within its reach, and ahead", () => {
  const scene = buildScene(3, 2, 1);
  scene.moveTo(0);
  const narrow = scan(scene, scannerPose(scene.pose(0)), 40, 5),
    wide = scan(scene, scannerPose(scene.pose(0)), 90, 5);
  const tangents = BEAMS.map(Math.tan);
  let farthest = 0;
  for (let i = 0; i < narrow.length; i += 4) {
    const [x, y, z, reflectance] = narrow.subarray(i, i + 4);
    const slope = z / Math.hypot(x, y);
    assert(tangents.some((t) => Math.abs(t - slope) < 1e-5), `slope ${slope} belongs to no beam`);
    assert(Math.abs(Math.atan2(y, x)) < 40 * Math.PI / 180 + 2 * AZIMUTH_STEP);
    assert(reflectance >= 0 && reflectance <= 1);
    farthest = Math.max(farthest, Math.hypot(x, y, z));
  }
  assert(farthest > 30 && farthest < 121, `farthest point at ${farthest} m`);
  // A wider sector holds the same points, and more beside them.
  const ahead = new Set<string>();
  for (let i = 0; i < wide.length; i += 4) ahead.add(wide.subarray(i, i + 4).join());
  assert(ahead.size > 1.3 * narrow.length / 4);
  for (let i = 0; i < narrow.length; i += 4) assert(ahead.has(narrow.subarray(i, i + 4).join()));
});

Deno.test("a frame is a function of seed, drive and frame alone", () => {
  const forwards = new StreetDrive(plan, 7), alone = new StreetDrive(plan, 7);
  const first = forwards.frame(0), second = forwards.frame(1), again = alone.frame(1);
  assertEquals(second, again);
  assertNotEquals(first.left.rgb, second.left.rgb);
  assertNotEquals(new StreetDrive({ ...plan, seed: 12 }, 7).frame(1).left.rgb, second.left.rgb);
  assertNotEquals(new StreetDrive(plan, 8).frame(1).left.rgb, second.left.rgb);
});

Deno.test("the cameras move on along the road at its height, and what drives moves with time", () => {
  for (let drive = 1; drive < 8; drive++) {
    const scene = buildScene(21, drive, 11);
    scene.moveTo(0);
    const faces = scene.mesh.faces, before = scene.mesh.vertices.slice(0, scene.mesh.vertexCount * 3);
    const a = scene.pose(0), b = scene.pose(10);
    const speed = Math.hypot(...a.position.map((v, i) => b.position[i] - v));
    assert(speed > 3.5 && speed < 14.5, `${speed} m/s`);
    for (const p of [a, b]) {
      for (const [u, v] of [[p.right, p.down], [p.down, p.forward], [p.forward, p.right]]) {
        assertAlmostEquals(u[0] * v[0] + u[1] * v[1] + u[2] * v[2], 0, 1e-12);
      }
      assert(p.down[2] < -0.97);
    }
    scene.moveTo(10);
    assertEquals(scene.mesh.faces, faces, "no face is left behind or lost");
    const after = scene.mesh.vertices.slice(0, scene.mesh.vertexCount * 3);
    scene.moveTo(0);
    assertEquals(scene.mesh.vertices.slice(0, scene.mesh.vertexCount * 3), before);
    if (drive === 1) assertNotEquals(after, before);
  }
});
