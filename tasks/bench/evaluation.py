"""KITTI frames evaluated from their laser scans in numpy, the peer of `deno task eval`.

    python3 evaluation.py ROOT SPLIT DISPARITIES.npy [--like-the-field]

The disparities are fractions of the width. Prints a line of JSON: versions, the mean of each metric, the number of points.

With --like-the-field it works as the field's scripts do: each image is decoded for its size, the calibration is read anew
for each frame, in two places, and for each pixel that occurs twice all points are searched. Without, sizes are those of
the calibration, which is read once a date, and points are written from the farthest to the nearest.
"""

import functools
import json
import os
import sys
from collections import Counter

import numpy as np

NEAREST, FARTHEST = 1e-3, 80
GARG = 0.40810811, 0.99189189, 0.03594771, 0.96405229


def decode(path):
    try:
        import cv2

        return cv2.imread(path).shape[:2]
    except ImportError:
        from PIL import Image

        return np.asarray(Image.open(path)).shape[:2]


def matrices(path):
    """The lines of a calibration file that hold numbers alone."""
    found = {}
    with open(path) as file:
        for line in file:
            key, _, text = line.partition(":")
            try:
                found[key] = np.array([float(word) for word in text.split()])
            except ValueError:
                pass
    return found


def projection(folder):
    """Scanner to left image, 3×4."""
    cameras = matrices(os.path.join(folder, "calib_cam_to_cam.txt"))
    scanner = matrices(os.path.join(folder, "calib_velo_to_cam.txt"))
    to_camera, rectify = np.eye(4), np.eye(4)
    to_camera[:3] = np.c_[scanner["R"].reshape(3, 3), scanner["T"]]
    rectify[:3, :3] = cameras["R_rect_00"].reshape(3, 3)
    return cameras["P_rect_02"].reshape(3, 4) @ rectify @ to_camera


def stereo(folder):
    """Focal length times baseline, px · m, and the images' height and width, px."""
    cameras = matrices(os.path.join(folder, "calib_cam_to_cam.txt"))
    width, height = cameras["S_rect_02"].astype(int)
    return cameras["P_rect_02"][3] - cameras["P_rect_03"][3], (height, width)


def depth_map(scan_path, matrix, size, one_by_one):
    """Depths of the left image's pixels, m, 0 where there is none."""
    height, width = size
    scan = np.fromfile(scan_path, dtype=np.float32).reshape(-1, 4)
    scan[:, 3] = 1
    scan = scan[scan[:, 0] >= 0]
    image = np.dot(matrix, scan.T).T
    image[:, :2] = np.round(image[:, :2] / image[:, 2:]) - 1
    inside = (image[:, 0] >= 0) & (image[:, 0] < width) & (image[:, 1] >= 0) & (image[:, 1] < height)
    columns, rows = image[inside, :2].astype(int).T
    depths = scan[inside, 0]
    if not one_by_one:
        order = np.argsort(-depths)
        columns, rows, depths = columns[order], rows[order], depths[order]
    found = np.zeros(size, dtype=np.float32)
    found[rows, columns] = depths
    if one_by_one:
        pixels = rows * width + columns
        for pixel in [pixel for pixel, count in Counter(pixels).items() if count > 1]:
            found.flat[pixel] = depths[np.where(pixels == pixel)[0]].min()
    return found


@functools.cache
def taps(source, target):
    """Lower neighbor, upper neighbor and the upper one's weight: bilinear, half-pixel centers."""
    at = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    low = at.astype(int)
    return low, np.minimum(low + 1, source - 1), (at - low).astype(np.float32)


def resize(disparity, height, width):
    left, right, share = taps(disparity.shape[1], width)
    wide = disparity[:, left]
    wide += share * (disparity[:, right] - wide)
    upper, lower, share = taps(disparity.shape[0], height)
    tall = wide[upper]
    tall += share[:, None] * (wide[lower] - tall)
    return tall


def errors(truth, disparity, reach):
    height, width = truth.shape
    with np.errstate(divide="ignore"):
        predicted = reach / (resize(disparity, height, width) * width)
    top, bottom, left, right = (np.array(GARG) * (height, height, width, width)).astype(int)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[top:bottom, left:right] = True
    mask &= (truth > NEAREST) & (truth < FARTHEST)
    actual = truth[mask].astype(np.float64)
    predicted = np.clip(predicted[mask].astype(np.float64), NEAREST, FARTHEST)
    ratio = np.maximum(actual / predicted, predicted / actual)
    difference = predicted - actual
    return [
        len(actual),
        np.mean(np.abs(difference) / actual),
        np.mean(difference**2 / actual),
        np.sqrt(np.mean(difference**2)),
        np.sqrt(np.mean((np.log(predicted) - np.log(actual)) ** 2)),
        *(np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
    ]


def main():
    root, split, predictions, *options = sys.argv[1:]
    like_the_field = bool(options)
    with open(split) as file:
        images = [line.split()[0] for line in file if line.strip()]
    disparities = np.load(predictions, mmap_mode="r")
    once = (lambda function: function) if like_the_field else functools.cache
    project, camera = once(projection), once(stereo)
    rows = []
    for image, disparity in zip(images, disparities):
        date, drive, _, _, name = image.split("/")
        folder = os.path.join(root, date)
        scan = os.path.join(folder, drive, "velodyne_points", "data", name[:10] + ".bin")
        reach, size = camera(folder)
        if like_the_field:
            size = decode(os.path.join(root, image))
        truth = depth_map(scan, project(folder), size, like_the_field)
        rows.append(errors(truth, np.array(disparity), reach))
    points, *means = np.array(rows).T
    names = "absRel", "sqRel", "rmse", "rmseLog", "a1", "a2", "a3"
    print(json.dumps({
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "points": int(points.sum()),
        **{name: values.mean() for name, values in zip(names, means)},
    }))


main()
