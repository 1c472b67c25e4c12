/**
 * From images and maps to tensors and back.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import type { FloatMap } from "../data/image.ts";
import { imageFromUnit, type RgbImage } from "../data/image.ts";

/** An image as float32 in [0,1], [1,H,W,3]. */
export function imageTensor({ width, height, data }: RgbImage): Tensor4D {
  return tf.tensor4d(Float32Array.from(data, (value) => value / 255), [1, height, width, 3]);
}

/** A map as float32, [1,H,W,1]. */
export function mapTensor({ width, height, data }: FloatMap): Tensor4D {
  return tf.tensor4d(data, [1, height, width, 1]);
}

/** The first image of a tensor [B,H,W,3] in [0,1]. */
export function tensorImage(tensor: Tensor4D): RgbImage {
  const [, height, width, channels] = tensor.shape;
  if (channels !== 3) {
    throw new RangeError(`Cannot show a tensor of shape [${tensor.shape}] as an image: wanted 3 channels`);
  }
  return imageFromUnit({ width, height }, tensor.dataSync().subarray(0, width * height * 3));
}

/** The first map of a tensor [B,H,W,1]. */
export function tensorMap(tensor: Tensor4D): FloatMap {
  const [, height, width, channels] = tensor.shape;
  if (channels !== 1) {
    throw new RangeError(`Cannot show a tensor of shape [${tensor.shape}] as a map: wanted 1 channel`);
  }
  return { width, height, data: (tensor.dataSync() as Float32Array).slice(0, width * height) };
}

/** Computes an image and frees all tensors that it took; see {@linkcode tensorImage}. */
export function imageFrom(compute: () => Tensor4D): RgbImage {
  const tensor = tf.tidy(compute);
  const image = tensorImage(tensor);
  tensor.dispose();
  return image;
}

/** Computes a map and frees all tensors that it took; see {@linkcode tensorMap}. */
export function mapFrom(compute: () => Tensor4D): FloatMap {
  const tensor = tf.tidy(compute);
  const map = tensorMap(tensor);
  tensor.dispose();
  return map;
}
