/**
 * The photometric loss: how much a synthesized view differs from the real one.
 *
 * @module
 */
import { defineKernel, type HostTensor, prefersHost } from "../backend/own_kernels.ts";
import { type Scalar, type Tensor4D, tf } from "../backend/tf.ts";
import { CyclopsError } from "../base/errors.ts";

/** Weight of SSIM against L1 in the photometric loss (Godard et al. 2017). */
export const SSIM_WEIGHT = 0.85;
/** SSIM's stabilizers for intensities in [0,1] (Wang et al. 2004). */
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

  // Horizontal sums of three in the last three rows, side by side: x, y, x² + y², x·y.
  const sums = new Float32Array(3 * 4 * windowRow);
  // P, Q, R of the last three window rows, each row with room for two empty windows on either side.
  const padded = windowRow + 4 * channels;
  const parts = new Float32Array(3 * 3 * padded);
  const column = new Float32Array(3 * padded);
  const inside = 2 * channels;
  const ssimFactor = -ssimWeight / windows / 9;
  const l1Factor = (1 - ssimWeight) / x.length;
  const ninth = 1 / 9;
  let similarity = 0;
  let difference = 0;

  for (let image = 0; image < batch; image++) {
    parts.fill(0);
    for (let row = 0; row < height + 2; row++) {
      if (row < height) {
        const into = (row % 3) * 4 * windowRow;
        let a = (image * height + row) * rowLength;
        for (let i = into; i < into + windowRow; i++, a++) {
          const xa = x[a], xb = x[a + channels], xc = x[a + 2 * channels];
          const ya = y[a], yb = y[a + channels], yc = y[a + 2 * channels];
          sums[i] = xa + xb + xc;
          sums[i + windowRow] = ya + yb + yc;
          sums[i + 2 * windowRow] = xa * xa + xb * xb + xc * xc + ya * ya + yb * yb + yc * yc;
          sums[i + 3 * windowRow] = xa * ya + xb * yb + xc * yc;
        }
      }
      // The windows that end in this row.
      const out = (row % 3) * 3 * padded + inside;
      if (row >= 2 && row < height) {
        for (let i = 0; i < windowRow; i++) {
          const b = i + 4 * windowRow, c = b + 4 * windowRow;
          const meanX = (sums[i] + sums[b] + sums[c]) * ninth;
          const meanY = (sums[i + windowRow] + sums[b + windowRow] + sums[c + windowRow]) * ninth;
          const ofSquares = (sums[i + 2 * windowRow] + sums[b + 2 * windowRow] + sums[c + 2 * windowRow]) *
            ninth;
          const ofProduct = (sums[i + 3 * windowRow] + sums[b + 3 * windowRow] + sums[c + 3 * windowRow]) *
            ninth;
          const product = meanX * meanY;
          const squares = meanX * meanX + meanY * meanY;
          const a1 = 2 * product + SSIM_C1;
          const a2 = 2 * (ofProduct - product) + SSIM_C2;
          const b1 = squares + SSIM_C1;
          const b2 = ofSquares - squares + SSIM_C2;
          const inverse = 1 / (b1 * b2);
          const p = a1 * inverse;
          const s = p * a2;
          const q = s * b1 * inverse;
          parts[out + i] = p;
          parts[out + padded + i] = q;
          parts[out + 2 * padded + i] = meanY * (a2 * inverse - p) + meanX * (q - s * b2 * inverse);
          similarity += s;
        }
      } else parts.fill(0, out - inside, out - inside + 3 * padded);
      const done = row - 2;
      if (done < 0) continue;
      for (let i = 0; i < 3 * padded; i++) {
        column[i] = parts[i] + parts[i + 3 * padded] + parts[i + 6 * padded];
      }
      let at = (image * height + done) * rowLength;
      for (let i = inside; i < inside + rowLength; i++, at++) {
        const p = column[i] + column[i - channels] + column[i - inside];
        const j = i + padded;
        const q = column[j] + column[j - channels] + column[j - inside];
        const k = j + padded;
        const r = column[k] + column[k - channels] + column[k - inside];
        const xi = x[at], yi = y[at];
        const d = xi - yi;
        const sign = d > 0 ? l1Factor : d < 0 ? -l1Factor : 0;
        difference += d > 0 ? d : -d;
        gradient[at] = ssimFactor * (r + yi * p - xi * q) + sign;
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
 * Photometric loss: 0.85 · (1 − SSIM)/2 + 0.15 · L1, each averaged over the image (Godard et al. 2017).
 *
 * @param estimate The synthesized view in [0,1], [B,H,W,C]; gradients flow into it.
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

/**
 * Where one synthesis of a view is better than another: 1 where its {@linkcode photometricMap} is the lower one, 0
 * elsewhere, [B,H,W,1].
 */
export function betterPixels(
  one: Tensor4D,
  other: Tensor4D,
  target: Tensor4D,
  ssimWeight: number = SSIM_WEIGHT,
): Tensor4D {
  return tf.tidy(() => {
    const [a, b] = [one, other].map((image) => photometricMap(image, target, ssimWeight));
    return tf.cast(tf.less(a, b), "float32") as Tensor4D;
  });
}
