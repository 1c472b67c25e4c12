"""The peer of `deno task bench`: the same network, loss and update in PyTorch, on the CPU.

    python3 peer.py THREADS

First it prints a line of JSON that says which PyTorch it is. Then it answers each line of JSON with one:

    {"do": "make", "name": …, "bytes": N, …} and N bytes of safetensors → {"parameters": …}
    {"do": "run", "name": …}                                            → {"ms": …, "value": …}
    {"do": "drop"}                                                      → {}

Failures are answered with {"error": …}.

TensorFlow pads a convolution of stride 2 at the bottom and right, PyTorch on all sides. Rotated by 180 degrees, one
becomes the other; so images and kernels are rotated on input, and the results are the same without manual padding,
which nobody would do in PyTorch. Rotation also swaps left and right, and with them the sign of the disparity.
"""

import json
import sys
import time

# Whatever a library prints must not come between the answers.
answers, sys.stdout = sys.stdout, sys.stderr


def answer(**values):
    print(json.dumps(values), file=answers, flush=True)


try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    answer(error=str(error))
    sys.exit(0)

SCALES = 4
MAX_DISPARITY = 0.3


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Network(torch.nn.Module):
    """The encoder–decoder of lib/models/network.ts, from the same description."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.convolutions = torch.nn.ModuleDict()

        def add(name, kernel, inputs, outputs, stride=1):
            self.convolutions[name] = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
            return outputs

        channels, skips = 3, []
        for i, stage in enumerate(encoder):
            if stage["kind"] != "plain":
                raise ValueError(f"no {stage['kind']} stages here, expected plain ones")
            for c in range(stage["convolutions"]):
                stride = 2 if c == stage["strideAt"] else 1
                name = f"encoder/{i + 1}/conv{c + 1}"
                channels = add(name, stage["kernel"], channels, stage["channels"], stride)
            skips.append(channels)
        for level in reversed(range(len(decoder))):
            width = decoder[level]
            add(f"decoder/{level}/up", 3, channels, width)
            merged = width + (skips[level - 1] if level > 0 else 0) + (2 if level < SCALES - 1 else 0)
            channels = add(f"decoder/{level}/merge", 3, merged, width)
            if level < SCALES:
                add(f"head/{level}", 3, channels, 2)

    def forward(self, x):
        """[B,3,H,W] → disparities, finest first, [B,2,H/2^s,W/2^s]."""

        def elu(name, x):
            return F.elu(self.convolutions[name](x), inplace=True)

        skips = []
        for i, stage in enumerate(self.encoder):
            for c in range(stage["convolutions"]):
                x = elu(f"encoder/{i + 1}/conv{c + 1}", x)
            skips.append(x)
        disparities = [None] * SCALES
        for level in reversed(range(len(self.decoder))):
            parts = [elu(f"decoder/{level}/up", upsample(x))]
            if level > 0:
                parts.append(skips[level - 1])
            if level < SCALES - 1:
                parts.append(upsample(disparities[level + 1]))
            x = elu(f"decoder/{level}/merge", torch.cat(parts, 1) if len(parts) > 1 else parts[0])
            if level < SCALES:
                disparities[level] = MAX_DISPARITY * torch.sigmoid(self.convolutions[f"head/{level}"](x))
        return disparities


def warp(image, disparity, direction):
    """lib/geometry/warp.ts: bilinear along x, the edge pixel beyond the edges. Disparity [B,1,H,W]."""
    height, width = image.shape[2:]
    x = torch.arange(width) + direction * width * disparity[:, 0]
    y = torch.linspace(-1, 1, height)[:, None].expand_as(x)
    grid = torch.stack((x * (2 / (width - 1)) - 1, y), 3)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def photometric(x, y, ssim_weight):
    """lib/losses/photometric.ts."""

    def mean(z):
        return F.avg_pool2d(z, 3, 1)

    mean_x, mean_y = mean(x), mean(y)
    squares = mean_x**2 + mean_y**2
    above = (2 * mean_x * mean_y + 0.01**2) * (2 * (mean(x * y) - mean_x * mean_y) + 0.03**2)
    below = (squares + 0.01**2) * (mean(x**2 + y**2) - squares + 0.03**2)
    ssim = (above / below).mean()
    return ssim_weight * (1 - ssim) / 2 + (1 - ssim_weight) * (x - y).abs().mean()


def differences(x):
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def edge_weights(image):
    return [torch.exp(-d.abs().mean(1, keepdim=True)) for d in differences(image)]


def smoothness(disparity, weights):
    """lib/losses/disparity.ts."""
    return sum((d.abs() * w).mean() for d, w in zip(differences(disparity), weights))


def pyramid(image):
    images = [image]
    while len(images) < SCALES:
        images.append(F.avg_pool2d(images[-1], 2))
    return images


class Contender:
    """One network and how it runs: a prediction, or a half-cycle update."""

    def __init__(self, request, tensors):
        self.step, self.loss = request["kind"] == "step", request.get("loss")
        self.bf16 = request["bf16"]
        layout = torch.channels_last if request["channelsLast"] else torch.contiguous_format
        self.network = Network(request["encoder"], request["decoder"]).to(memory_format=layout)
        with torch.no_grad():
            for name, convolution in self.network.convolutions.items():
                kernel = tensors[f"{name}/kernel"].permute(3, 2, 0, 1).flip(2, 3)
                convolution.weight.copy_(kernel)
                convolution.bias.copy_(tensors[f"{name}/bias"])
        self.source, self.target = (
            tensors[view].permute(0, 3, 1, 2).flip(2, 3).contiguous(memory_format=layout)
            for view in ("source", "target")
        )
        if self.step:
            self.optimizer = torch.optim.Adam(
                self.network.parameters(),
                lr=request["learningRate"],
                eps=1e-7,
                **({"fused": True} if request["fused"] else {}),
            )

    @property
    def parameters(self):
        return sum(p.numel() for p in self.network.parameters())

    def predict(self):
        if not self.bf16:
            return self.network(self.source)
        with torch.autocast("cpu", torch.bfloat16):
            return [d.float() for d in self.network(self.source)]

    def total(self):
        """lib/training/objective.ts, stage half-cycle."""
        with torch.no_grad():
            sources, targets = pyramid(self.source), pyramid(self.target)
            source_edges, target_edges = map(edge_weights, sources), map(edge_weights, targets)
        weights, ssim_weight = self.loss["weights"], self.loss["ssimWeight"]
        # The left view is seen, and left(x + d·W) is the right one: rotated by 180 degrees, x − d·W.
        to_target, to_source = -1, 1
        total = 0
        for s, (disparities, source, target, at_source, at_target) in enumerate(
            zip(self.predict(), sources, targets, source_edges, target_edges)
        ):
            of_target, of_source = disparities.split(1, 1)
            similar = photometric(warp(source, of_target, to_target), target, ssim_weight)
            if self.loss["both"]:
                similar = similar + photometric(warp(target, of_source, to_source), source, ssim_weight)
            consistent = (warp(of_source, of_target, to_target) - of_target).abs().mean()
            consistent = consistent + (warp(of_target, of_source, to_source) - of_source).abs().mean()
            smooth = (smoothness(of_target, at_target) + smoothness(of_source, at_source)) / 2**s
            terms = {"photometric": similar, "consistency": consistent, "smoothness": smooth}
            total = total + sum(weights[name] * term for name, term in terms.items())
        return total

    def run(self):
        start = time.perf_counter()
        if self.step:
            loss = self.total()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            value = loss.item()
            return (time.perf_counter() - start) * 1000, value
        with torch.inference_mode():
            finest = self.predict()[0]
        return (time.perf_counter() - start) * 1000, finest.mean().item()


def read_tensors(count):
    """The tensors of a safetensors file of float32, from standard input."""
    data = bytearray(sys.stdin.buffer.read(count))
    body = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:body]).items():
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=body + begin)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def main():
    torch.set_num_threads(int(sys.argv[1]))
    answer(torch=torch.__version__, threads=torch.get_num_threads(), python=sys.version.split()[0])
    contenders = {}
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        try:
            if request["do"] == "make":
                tensors = read_tensors(request["bytes"])
                contender = contenders[request["name"]] = Contender(request, tensors)
                answer(parameters=contender.parameters)
            elif request["do"] == "run":
                milliseconds, value = contenders[request["name"]].run()
                answer(ms=milliseconds, value=value)
            else:
                contenders.clear()
                answer()
        except Exception as error:  # The other contenders can still run.
            answer(error=f"{type(error).__name__}: {error}")


main()
