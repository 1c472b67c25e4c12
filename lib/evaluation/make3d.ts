/**
 * Make3D's test set (Saxena et al. 2009) as the field evaluates stereo networks on it (criterion C1, Godard et al. 2019):
 * of its 134 photographs and laser depths the middle rows that make an image twice as wide as it is high.
 *
 *     ROOT/Test134/img-10.21op2-p-015t000.jpg                         1704×2272 px, upright
 *          Gridlaserdata/depth_sph_corr-10.21op2-p-015t000.mat        Position3DGrid, 55×305×4: y, x, z, distance in m
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";
import { fileError } from "../base/files.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { readMat } from "../data/mat.ts";
import type { StereoPair } from "../data/split.ts";
import { assumeCamera, CANONICAL_RIG } from "../geometry/camera.ts";
import type { Truth } from "./truth.ts";

/** Points at or beyond this are left out, m. */
export const MAKE3D_CAP_M = 70;

/** Width and height of the photographs, px, and of the grid of distances. */
const PHOTO = { width: 1704, height: 2272 }, GRID = { width: 305, height: 55 };
/** Of the height, what is kept; the rest is cut off above and below, half of it each. */
const KEPT = PHOTO.width / 2 / PHOTO.height;
const ROWS = Math.round(GRID.height * KEPT), TOP = Math.floor((GRID.height - ROWS) / 2);

/** Make3D's photographs in the order of their names. */
export type Make3d = Omit<StereoDataset, "identity">;

/**
 * Lists the test set. Its camera is not known: disparities count as those of KITTI's stereo camera.
 *
 * @throws {CyclopsError} When photographs, or the distances of one, are absent.
 */
export async function openMake3d(root: string): Promise<Make3d> {
  const list = async (folder: string, pattern: RegExp) => {
    try {
      const names = (await Array.fromAsync(Deno.readDir(join(root, folder)))).map(({ name }) => name);
      return names.flatMap((name) => name.match(pattern)?.[1] ?? []).sort();
    } catch (error) {
      throw fileError(
        "open Make3D: its archives Test134.tar.gz and Test134Depth.tar.gz, unpacked, have a folder",
        join(root, folder),
        error,
      );
    }
  };
  const photos = await list("Test134", /^img-(.+)\.jpg$/i);
  const depths = new Set(await list("Gridlaserdata", /^depth_sph_corr-(.+)\.mat$/i));
  const absent = photos.filter((name) => !depths.has(name));
  if (photos.length === 0 || absent.length) {
    throw new CyclopsError(
      `Cannot open Make3D in ${root}: ` + (absent.length
        ? `${absent.length} of ${photos.length} photographs have no distances, e.g. Gridlaserdata/depth_sph_corr-${
          absent[0]
        }.mat`
        : "no Test134/img-….jpg") +
        ", expected 134 of each",
    );
  }
  const camera = assumeCamera(CANONICAL_RIG, { width: GRID.width, height: ROWS }), crop = (1 - KEPT) / 2;
  const pairs = photos.map((name): StereoPair => {
    const left = `Test134/img-${name}.jpg`;
    const truth = { kind: "depth", path: `Gridlaserdata/depth_sph_corr-${name}.mat` } as const;
    return { left, right: left, camera, truth, cropBottom: crop, cropTop: crop };
  });
  return { root, name: "make3d", part: "test", pairs, cropBottom: 0 };
}

/** The distances of a photograph's middle rows. @throws {CyclopsError} When the file is damaged or of another size. */
export async function readMake3dTruth(root: string, { camera, truth }: StereoPair): Promise<Truth> {
  const path = join(root, truth!.path), { shape, data } = await readMat(path, "Position3DGrid");
  if (shape.join() !== [GRID.height, GRID.width, 4].join()) {
    throw new CyclopsError(
      `Cannot use ${path}: its Position3DGrid is ${shape.join("×")}, expected ${GRID.height}×${GRID.width}×4`,
    );
  }
  const xs: number[] = [], ys: number[] = [], depths: number[] = [];
  for (let y = 0; y < ROWS; y++) {
    for (let x = 0; x < GRID.width; x++) {
      // Columns first, and the distance is the fourth plane.
      const depth = data[TOP + y + GRID.height * (x + GRID.width * 3)];
      if (!(depth > 0)) continue;
      xs.push(x);
      ys.push(y);
      depths.push(depth);
    }
  }
  return {
    camera: camera!,
    xs: Uint16Array.from(xs),
    ys: Uint16Array.from(ys),
    depths: Float32Array.from(depths),
  };
}
