/**
 * How much a synthesised view differs from the real one.
 *
 * @module
 */
import { defineKernel, type HostTensor, prefersHost } from "../backend/own_kernels.ts";
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";

/** Weight of SSIM against L1 in the photometric loss (Godard et al. 2017). */
export const SSIM_WEIGHT = 0.85;
/** SSIM's stabilisers for intensities in [0,1] (Wang et al. 2004). */
export const SSIM_C1 = 0.01 ** 2;
/** See {@linkcode SSIM_C1}. */
export const SSIM_C2 = 0.03 ** 2;

/** Mean over every 3×3 window that lies inside: [B,H,W,C] → [B,H−2,W−2,C]. */
function windowMean(x: Tensor4D): Tensor4D {
  return tf.avgPool(x, 3, 1, "valid");
}

/**
 * Structural similarity over 3×3 windows, without padding.
 *
 * @param a Image in [0,1], [B,H,W,C].
 * @param b Image in [0,1], [B,H,W,C].
 * @returns SSIM in [−1,1], [B,H−2,W−2,C]; 1 where the windows are equal.
 */
export function ssim(a: Tensor4D, b: Tensor4D): Tensor4D {
  return tf.tidy(() => {
    const meanA = windowMean(a);
    const meanB = windowMean(b);
    const meanAB = tf.mul(meanA, meanB);
    const squares = tf.add(tf.square(meanA), tf.square(meanB));
    const covariance = tf.sub(windowMean(tf.mul(a, b)), meanAB);
    const variances = tf.sub(windowMean(tf.add(tf.square(a), tf.square(b))), squares);
    const above = tf.mul(tf.add(tf.mul(meanAB, 2), SSIM_C1), tf.add(tf.mul(covariance, 2), SSIM_C2));
    const below = tf.mul(tf.add(squares, SSIM_C1), tf.add(variances, SSIM_C2));
    return tf.div(above, below);
  });
}

function photometricPortable(estimate: Tensor4D, target: Tensor4D, ssimWeight: number): Scalar {
  const l1 = tf.mean(tf.abs(tf.sub(estimate, target)));
  const dissimilarity = tf.div(tf.sub(1, tf.mean(ssim(estimate, target))), 2);
  return tf.add(tf.mul(dissimilarity, ssimWeight), tf.mul(l1, 1 - ssimWeight)) as Scalar;
}

/**
 * Loss and gradient in one walk over the images. With window means μ, variances and covariance σ of x (estimate) and
 * y (target), S = A₁A₂ / (B₁B₂), A₁ = 2μₓμᵧ + C₁, A₂ = 2σₓᵧ + C₂, B₁ = μₓ² + μᵧ² + C₁, B₂ = σₓ² + σᵧ² + C₂, the
 * derivative for a pixel is (2/9) Σ over its windows of R + y·P − x·Q, with P = A₁/(B₁B₂), Q = S/B₂ and
 * R = μᵧ·A₂/(B₁B₂) − μᵧ·P − μₓ·S/B₁ + μₓ·Q.
 */
function photometricHost(estimate: HostTensor, target: HostTensor, ssimWeight: number): HostTensor[] {
  const [batch, height, width, channels] = estimate.shape;
  const x = estimate.values;
  const y = target.values;
  const rowLength = width * channels;
  const windowRow = (width - 2) * channels;
  const windows = batch * (height - 2) * windowRow;
  const gradient = new Float32Array(x.length);

  // Horizontal sums of three, of the last three rows: x, y, x² + y², x·y.
  const sums = [0, 1, 2].map(() => new Float32Array(4 * windowRow));
  // Each window row's P, Q, R, already summed over the windows that share a pixel column.
  const spread = [0, 1, 2].map(() => new Float32Array(3 * rowLength));
  const ssimFactor = -ssimWeight / windows / 9;
  const l1Factor = (1 - ssimWeight) / x.length;
  let similarity = 0;
  let difference = 0;

  for (let image = 0; image < batch; image++) {
    for (const row of spread) row.fill(0);
    for (let row = 0; row < height + 2; row++) {
      const into = sums[row % 3];
      if (row < height) {
        const start = (image * height + row) * rowLength;
        for (let i = 0; i < windowRow; i++) {
          const a = start + i;
          const b = a + channels;
          const c = b + channels;
          const xa = x[a], xb = x[b], xc = x[c], ya = y[a], yb = y[b], yc = y[c];
          into[i] = xa + xb + xc;
          into[windowRow + i] = ya + yb + yc;
          into[2 * windowRow + i] = xa * xa + xb * xb + xc * xc + ya * ya + yb * yb + yc * yc;
          into[3 * windowRow + i] = xa * ya + xb * yb + xc * yc;
        }
      }
      // The window row that ends here, and its share in the gradient.
      const out = spread[row % 3];
      out.fill(0);
      if (row >= 2 && row < height) {
        const [s0, s1, s2] = sums;
        for (let i = 0; i < windowRow; i++) {
          const j = windowRow + i, k = j + windowRow, l = k + windowRow;
          const meanX = (s0[i] + s1[i] + s2[i]) / 9;
          const meanY = (s0[j] + s1[j] + s2[j]) / 9;
          const product = meanX * meanY;
          const squares = meanX * meanX + meanY * meanY;
          const a1 = 2 * product + SSIM_C1;
          const a2 = 2 * ((s0[l] + s1[l] + s2[l]) / 9 - product) + SSIM_C2;
          const b1 = squares + SSIM_C1;
          const b2 = (s0[k] + s1[k] + s2[k]) / 9 - squares + SSIM_C2;
          const p = a1 / (b1 * b2);
          const s = p * a2;
          const q = s / b2;
          const r = meanY * (a2 / (b1 * b2) - p) + meanX * (q - s / b1);
          similarity += s;
          for (let o = i, n = 0; n < 3; n++, o += channels) {
            out[o] += p;
            out[rowLength + o] += q;
            out[2 * rowLength + o] += r;
          }
        }
      }
      const done = row - 2;
      if (done < 0) continue;
      const start = (image * height + done) * rowLength;
      const [w0, w1, w2] = spread;
      for (let i = 0; i < rowLength; i++) {
        const j = rowLength + i, k = j + rowLength;
        const xi = x[start + i], yi = y[start + i];
        const d = xi - yi;
        difference += Math.abs(d);
        const p = w0[i] + w1[i] + w2[i];
        const q = w0[j] + w1[j] + w2[j];
        const r = w0[k] + w1[k] + w2[k];
        gradient[start + i] = ssimFactor * (r + yi * p - xi * q) + l1Factor * Math.sign(d);
      }
    }
  }
  const loss = ssimWeight * (1 - similarity / windows) / 2 + (1 - ssimWeight) * difference / x.length;
  return [{ values: Float32Array.of(loss), shape: [] }, { values: gradient, shape: estimate.shape }];
}

const photometric = defineKernel<{ readonly ssimWeight: number }>({
  name: "CyclopsPhotometric",
  inputs: ["estimate", "target"],
  host: ([estimate, target], { ssimWeight }) => photometricHost(estimate, target, ssimWeight),
  gradients: (dy, _inputs, [, gradient]) => [
    () => tf.mul(gradient, dy),
    () => {
      throw new CyclopsError("Cannot differentiate the photometric loss by its target: swap the two images");
    },
  ],
});

/**
 * Photometric loss: 0.85 · (1 − SSIM)/2 + 0.15 · L1, each averaged over the image (METHOD.md, losses).
 *
 * @param estimate The synthesised view in [0,1], [B,H,W,C]; gradients flow into it.
 * @param target The real view in [0,1], [B,H,W,C], a constant.
 * @param ssimWeight Share of SSIM, 0 to 1.
 * @returns Scalar in [0,1].
 */
export function photometricLoss(
  estimate: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Scalar {
  if (prefersHost()) return tf.tidy(() => photometric([estimate, target], { ssimWeight })[0] as Scalar);
  return tf.tidy(() => photometricPortable(estimate, target, ssimWeight));
}

/**
 * The photometric error at every pixel, for masks and pictures: SSIM of the windows around it, repeated at the rim.
 *
 * @param estimate Image in [0,1], [B,H,W,C]. @param target The real one.
 * @returns [B,H,W,1], in [0,1].
 */
export function photometricMap(
  estimate: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Tensor4D {
  return tf.tidy(() => {
    const inner = tf.div(tf.sub(1, tf.mean(ssim(estimate, target), 3, true)), 2) as Tensor4D;
    const dissimilarity = tf.image.resizeNearestNeighbor(inner, [estimate.shape[1], estimate.shape[2]]);
    const l1 = tf.mean(tf.abs(tf.sub(estimate, target)), 3, true);
    return tf.add(tf.mul(dissimilarity, ssimWeight), tf.mul(l1, 1 - ssimWeight)) as Tensor4D;
  });
}
