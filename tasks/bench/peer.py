"""One contender of `deno task bench` in PyTorch, on the CPU: the same networks, loss and update as ours.

    python3 peer.py THREADS

First it prints a line of JSON that says which PyTorch it is. Then it answers each line of JSON with one:

    {"do": "make", …} → {}                      see Contender; weights and images come in a safetensors file
    {"do": "run"}     → {"ms": …, "value": …}

Failures are answered with {"error": …}.

TensorFlow pads a convolution of stride 2 at the bottom and right, PyTorch on all sides. Rotated by 180 degrees, one
becomes the other; so images and kernels are rotated on input, and the results are the same without manual padding,
which nobody would do in PyTorch. Rotation also swaps left and right, and with them the sign of the disparity.
"""

import json
import shutil
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
CONSISTENCY_WIDTH = 256
MAX_DISPARITY = 0.3
# The left view is seen, and left(x + d·W) is the right one: rotated by 180 degrees, x − d·W.
TO_RIGHT, TO_LEFT = -1, 1
TERMS = {
    "student": ("photometric", "consistency", "smoothness"),
    "refine": ("refined", "refinedConsistency", "refinedSmoothness"),
}


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Network(torch.nn.Module):
    """The encoder–decoder of lib/models/network.ts, from the same description."""

    def __init__(self, encoder, decoder, channels):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.convolutions = torch.nn.ModuleDict()

        def add(name, kernel, inputs, outputs, stride=1):
            self.convolutions[name] = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
            return outputs

        skips = []
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
        """[B,C,H,W] → disparities, finest first, [B,2,H/2^s,W/2^s]."""

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
    """lib/losses/losses.ts."""

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
    """lib/losses/losses.ts."""
    return sum((d.abs() * w).mean() for d, w in zip(differences(disparity), weights))


def pyramid(image):
    images = [image]
    while len(images) < SCALES:
        images.append(F.avg_pool2d(images[-1], 2))
    return images


def synthesize(images, disparities, direction):
    return [warp(image, d[:, :1], direction) for image, d in zip(images, disparities)]


class Contender:
    """Networks and what is done with them: a prediction, or an update of a stage."""

    def __init__(self, request):
        self.step, self.loss = request["kind"] == "step", request["loss"]
        self.stage, self.bf16 = request["stage"], request.get("bf16", False)
        layout = torch.channels_last if request.get("channelsLast") else torch.contiguous_format
        tensors = read_tensors(request["file"])
        self.networks = {}
        for name, inputs in request["networks"].items():
            network = Network(request["encoder"], request["decoder"], inputs).to(memory_format=layout)
            network.requires_grad_(name in request["trainable"])
            with torch.no_grad():
                for path, convolution in network.convolutions.items():
                    kernel = tensors[f"{name}/{path}/kernel"].permute(3, 2, 0, 1).flip(2, 3)
                    convolution.weight.copy_(kernel)
                    convolution.bias.copy_(tensors[f"{name}/{path}/bias"])
            self.networks[name] = network
        self.source, self.target = (
            tensors[view].permute(0, 3, 1, 2).flip(2, 3).contiguous(memory_format=layout)
            for view in ("source", "target")
        )
        self.compute = self.total if self.step else self.finest
        self.compiled = request.get("compiled", False)
        if self.compiled:
            if not (shutil.which("g++") or shutil.which("clang++")):
                raise RuntimeError("torch.compile needs a C++ compiler")
            # Prepacks the weights for convolutions, which PyTorch recommends for predictions on a CPU.
            import torch._inductor.config as inductor

            inductor.freezing = not self.step
            self.compute = torch.compile(self.compute, dynamic=False)
        if self.step:
            self.optimizer = torch.optim.Adam(
                [p for network in self.networks.values() for p in network.parameters() if p.requires_grad],
                lr=request["learningRate"],
                eps=1e-7,
                fused=True,
            )

    def predict(self, name, x):
        if not self.bf16:
            return self.networks[name](x)
        with torch.autocast("cpu", torch.bfloat16):
            disparities = self.networks[name](x)
        return [d.float() for d in disparities]

    def finest(self):
        return self.predict("student", self.source)[0]

    def terms(self, network, disparities, synthesized, seen, real, seen_edges, real_edges, direction):
        """Photometric loss, consistency and smoothness of one network: lib/losses/objective.ts."""
        weights, ssim_weight = self.loss["weights"], self.loss["ssimWeight"]
        total = 0
        for s, d in enumerate(disparities):
            of_target, of_source = d.split(1, 1)
            similar = photometric(synthesized[s], real[s], ssim_weight)
            if self.loss["both"]:
                back = warp(real[s], of_source, -direction)
                similar = similar + photometric(back, seen[s], ssim_weight)
            consistent = (warp(of_source, of_target, direction) - of_target).abs().mean()
            consistent = consistent + (warp(of_target, of_source, -direction) - of_source).abs().mean()
            consistent = consistent * (d.shape[3] / CONSISTENCY_WIDTH)
            smooth = (smoothness(of_target, real_edges[s]) + smoothness(of_source, seen_edges[s])) / 2**s
            for name, term in zip(TERMS[network], (similar, consistent, smooth)):
                total = total + weights[name] * term
        return total

    def total(self):
        """The loss of a stage: lib/models/chain.ts with closed gates, and its terms."""
        with torch.no_grad():
            sources, targets = pyramid(self.source), pyramid(self.target)
            edges = [[edge_weights(image) for image in images] for images in (sources, targets)]
        forward = sources, targets, *edges, TO_RIGHT

        def refined(name):
            """The teacher's disparities; what comes before its refine network is frozen."""
            with torch.no_grad():
                student = self.predict(name, sources[0])
                generated = warp(sources[0], student[0][:, :1], TO_RIGHT)
                backward = self.predict("backward", generated)
                seen = warp(generated, backward[0][:, :1], TO_LEFT)
            parts = sources[0], seen, sources[0] - seen, student[0], backward[0]
            return self.predict("refine", torch.cat(parts, 1))

        if self.stage == "teacher":
            disparities = refined("student")
            return self.terms("refine", disparities, synthesize(sources, disparities, TO_RIGHT), *forward)

        student = self.predict("student", sources[0])
        total = self.terms("student", student, synthesize(sources, student, TO_RIGHT), *forward)
        if self.stage == "distill":
            with torch.no_grad():
                teachers = refined("teacherStudent")
            for d, teacher in zip(student, teachers):
                total = total + self.loss["weights"]["distillation"] * (d.log() - teacher.log()).abs().mean()
        return total

    def run(self):
        start = time.perf_counter()
        if self.step:
            loss = self.compute()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            value = loss.item()
            return (time.perf_counter() - start) * 1000, value
        with torch.no_grad() if self.compiled else torch.inference_mode():
            finest = self.compute()
        return (time.perf_counter() - start) * 1000, finest.mean().item()


def read_tensors(path):
    """The tensors of a safetensors file of float32."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
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
    contender = None
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        try:
            if request["do"] == "make":
                contender = Contender(request)
                answer(parameters=sum(p.numel() for n in contender.networks.values() for p in n.parameters()))
            else:
                milliseconds, value = contender.run()
                answer(ms=milliseconds, value=value)
        except Exception as error:  # The first line says what is wrong.
            answer(error=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")


main()
