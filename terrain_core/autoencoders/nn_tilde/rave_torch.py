"""A RAVE that was loaded as TorchScript, rebuilt as modules whose state goes in and out: what ONNX can hold.

TorchScript keeps each module's class name (`original_name`), its weights and its plain attributes, and those are enough
to rebuild it without the package it came from. `rebuild` walks over what was loaded; a module that it does not know
ends the walk with `UnknownModuleError`, and the model is then played as TorchScript.

Everything here works on (batch, channels, time). State is a tape: each cache has its place on it, a forward pass takes
them in order and puts the next ones in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class UnknownModuleError(Exception):
    """The model has a part that cannot be rebuilt; the text says which."""


@dataclass
class Tape:
    """The caches of one forward pass, in the order of the graph's inputs."""

    before: list[Tensor]
    after: list[Tensor] = field(default_factory=list)

    def take(self) -> Tensor:
        return self.before[len(self.after)]

    def put(self, cache: Tensor) -> None:
        self.after.append(cache)


class Rebuilder:
    """Walks over a loaded model; remembers the shapes of the caches in the order in which they are used."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int, int]] = []

    def cache(self, rows: int, channels: int, length: int) -> None:
        self.shapes.append((rows, channels, length))


class Layer(nn.Module):
    """Base of all layers: `play(x, tape)` is the forward pass."""

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        raise NotImplementedError

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        """Claim caches for an input of so many rows and channels, in the order of `play`; give the channels that come
        out.
        """
        return channels


class Pointwise(Layer):
    """What needs no past."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        return self.function(x)


class Snake(Layer):
    alpha: Tensor
    inverse: Tensor

    def __init__(self, alpha: Tensor) -> None:
        super().__init__()
        self.register_buffer("alpha", alpha.detach().clone())
        self.register_buffer("inverse", (self.alpha + 1e-9).reciprocal())

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        wave = (self.alpha * x).sin()
        return x + self.inverse * (wave * wave)


class Affine(Layer):
    """A factor and a summand per channel: batch normalisation and adaptive instance normalisation, once learned."""

    factor: Tensor
    summand: Tensor

    def __init__(self, factor: Tensor, summand: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor.detach().reshape(1, -1, 1).clone())
        self.register_buffer("summand", summand.detach().reshape(1, -1, 1).clone())

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        return x * self.factor + self.summand


class Chain(Layer):
    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        for layer in self.layers:
            x = cast(Layer, layer).play(x, tape)
        return x

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        for layer in self.layers:
            channels = cast(Layer, layer).begin(rebuilder, rows, channels)
        return channels


class Past(Layer):
    """The last samples of the pass before, in front of the new ones; cropped, this is a delay."""

    def __init__(self, length: int, *, crop: bool) -> None:
        super().__init__()
        self.length, self.crop = length, crop

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        if not self.length:
            return x
        x = torch.cat([tape.take(), x], -1)
        tape.put(x[..., -self.length :])
        return x[..., : -self.length] if self.crop else x

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        if self.length:
            rebuilder.cache(rows, channels, self.length)
        return channels


class Convolution(Layer):
    def __init__(self, module: Any, delay: int, past: int) -> None:
        super().__init__()
        self.delay, self.past = Past(delay, crop=True), Past(past, crop=False)
        self.weight, self.bias = _parameter(module.weight), _parameter(module.bias)
        self.stride, self.dilation, self.groups = int(module.stride[0]), int(module.dilation[0]), int(module.groups)

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        x = self.past.play(self.delay.play(x, tape), tape)
        return F.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        channels = int(self.weight.shape[1]) * self.groups
        self.delay.begin(rebuilder, rows, channels)
        self.past.begin(rebuilder, rows, channels)
        return int(self.weight.shape[0])


class TransposedConvolution(Layer):
    """Upsampling by overlap and add: what reaches beyond the pass's end is added to the start of the next."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(module.weight), _parameter(module.bias)
        self.stride, self.dilation, self.groups = int(module.stride[0]), int(module.dilation[0]), int(module.groups)
        self.overlap = 2 * int(module.padding[0])
        if self.overlap == 0 or int(module.output_padding[0]):
            raise UnknownModuleError("a transposed convolution whose passes do not overlap")

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        x = F.conv_transpose1d(x, self.weight, None, self.stride, 0, 0, self.groups, self.dilation)
        before = tape.take()
        x = torch.cat([x[..., : self.overlap] + before, x[..., self.overlap :]], -1)
        tape.put(x[..., -self.overlap :])
        x = x[..., : -self.overlap]
        return x if self.bias is None else x + self.bias[:, None]

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        channels = int(self.weight.shape[1]) * self.groups
        rebuilder.cache(rows, channels, self.overlap)
        return channels


class Branches(Layer):
    """Layers beside one another, each behind a delay that makes up for the longer ones, and their sum."""

    def __init__(self, layers: list[Layer], delays: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.delays = nn.ModuleList([Past(delay, crop=True) for delay in delays])

    def each(self, x: Tensor, tape: Tape) -> list[Tensor]:
        pairs = zip(self.layers, self.delays, strict=True)
        return [cast(Layer, layer).play(cast(Layer, delay).play(x, tape), tape) for layer, delay in pairs]

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        first, *others = self.each(x, tape)
        for other in others:
            first = first + other
        return first

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        out = channels
        for layer, delay in zip(self.layers, self.delays, strict=True):
            cast(Layer, delay).begin(rebuilder, rows, channels)
            out = cast(Layer, layer).begin(rebuilder, rows, channels)
        return out


class Noise(Layer):
    """The noise branch: band levels -> short impulse responses -> white noise through them.

    From levels to an impulse response (inverse transform, window, cut to `target`) and to its spectrum is linear, hence
    one matrix; the convolution is a product of spectra of twice the length. The white noise comes from outside.
    """

    white_real: Tensor
    white_imaginary: Tensor
    response_real: Tensor
    response_imaginary: Tensor
    back_real: Tensor
    back_imaginary: Tensor

    def __init__(self, net: Layer, bands_out: int, target: int, channels: int) -> None:
        super().__init__()
        self.net, self.target, self.channels = net, target, channels
        self.levels = bands_out // channels
        forward = torch.fft.rfft(torch.eye(target, dtype=torch.float64), 2 * target)  # (target, target + 1)
        response = _levels_to_response(self.levels, target) @ forward
        unit = torch.eye(target + 1, dtype=torch.complex128)
        back = [torch.fft.irfft(factor * unit, 2 * target)[:, :target] for factor in (1, 1j)]
        for name, matrix in (("white", forward), ("response", response)):
            self.register_buffer(f"{name}_real", matrix.real.float())
            self.register_buffer(f"{name}_imaginary", matrix.imag.float())
        self.register_buffer("back_real", back[0].float())
        self.register_buffer("back_imaginary", back[1].float())
        self.white: Tensor | None = None

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        assert self.white is not None
        levels = _bounded(self.net.play(x, tape) - 5).permute(0, 2, 1)
        levels = levels.reshape(-1, self.levels)  # a row for each subframe and channel
        white = self.white.reshape(-1, self.target) * 2 - 1
        a, b = white @ self.white_real, white @ self.white_imaginary
        c, d = levels @ self.response_real, levels @ self.response_imaginary
        noise = (a * c - b * d) @ self.back_real + (a * d + b * c) @ self.back_imaginary
        noise = noise.reshape(-1, self.channels, self.target)
        return noise.permute(1, 0, 2).reshape(1, self.channels, -1)

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        self.net.begin(rebuilder, rows, channels)
        return self.channels


class GeneratorV2(Layer):
    def __init__(self, net: Layer, wave: Layer | None, noise: Noise | None, *, modulated: bool) -> None:
        super().__init__()
        self.net, self.wave, self.noise, self.modulated = net, wave, noise, modulated

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        x = self.net.play(x, tape)
        noise = self.noise.play(x, tape) if self.noise else None
        if self.wave:
            x = self.wave.play(x, tape)
        if self.modulated:
            x, amplitude = x.chunk(2, 1)
            x = x * torch.sigmoid(amplitude)
        return torch.tanh(x if noise is None else x + noise)

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        channels = self.net.begin(rebuilder, rows, channels)
        if self.noise:
            self.noise.begin(rebuilder, rows, channels)
        if self.wave:
            channels = self.wave.begin(rebuilder, rows, channels)
        return channels // 2 if self.modulated else channels


class Generator(Layer):
    """Version 1: waveform times loudness, plus noise once training had got that far."""

    def __init__(self, net: Layer, synth: Branches, loud_stride: int, *, noisy: bool, noise: Noise | None) -> None:
        super().__init__()
        self.net, self.synth, self.loud_stride, self.noisy, self.noise = net, synth, loud_stride, noisy, noise

    def play(self, x: Tensor, tape: Tape) -> Tensor:
        wave, loudness, *noise = self.synth.each(self.net.play(x, tape), tape)
        if self.loud_stride != 1:
            loudness = loudness.repeat_interleave(self.loud_stride, -1)
        wave = torch.tanh(wave) * _bounded(loudness)
        return wave + noise[0] if self.noisy else wave

    def begin(self, rebuilder: Rebuilder, rows: int, channels: int) -> int:
        return self.synth.begin(rebuilder, rows, self.net.begin(rebuilder, rows, channels))


class Pqmf(nn.Module):
    """The filter bank that splits audio into bands and joins them; each audio channel is a row."""

    turned: Tensor

    def __init__(self, analysis: Layer, synthesis: Layer, bands: int) -> None:
        super().__init__()
        self.analysis, self.synthesis, self.bands = analysis, synthesis, bands
        turned = torch.ones(1, bands, 1, 2)
        turned[:, 1::2, :, 0] = -1  # every other band is mirrored in frequency
        self.register_buffer("turned", turned)

    def _turn(self, x: Tensor) -> Tensor:
        return (x.reshape(x.shape[0], self.bands, -1, 2) * self.turned).reshape(x.shape[0], self.bands, -1)

    def split(self, audio: Tensor, tape: Tape) -> Tensor:
        """(channels, 1, samples) -> (channels, bands, samples / bands)"""
        return self._turn(self.analysis.play(audio, tape))

    def join(self, x: Tensor, tape: Tape) -> Tensor:
        """(channels, bands, time) -> (channels, 1, time * bands)"""
        x = self.synthesis.play(self._turn(x), tape) * self.bands
        return x.flip(1).permute(0, 2, 1).reshape(x.shape[0], 1, -1)


def _parameter(value: Tensor | None) -> Any:
    return None if value is None else nn.Parameter(value.detach().clone(), requires_grad=False)


def _bounded(x: Tensor) -> Tensor:
    """RAVE's positive squashing of levels."""
    return 2 * torch.sigmoid(x) ** 2.3 + 1e-7


def _levels_to_response(levels: int, target: int) -> Tensor:
    """(levels, target), complex: what each band's level contributes to the impulse response."""
    response = torch.fft.irfft(torch.eye(levels, dtype=torch.complex128))
    size = response.shape[-1]
    response = torch.roll(response, size // 2, -1) * torch.hann_window(size, dtype=torch.float64)
    response = F.pad(response, (0, target - size))
    return torch.roll(response, -(size // 2), -1).to(torch.complex128)


# From TorchScript


def _name(module: Any) -> str:
    return str(module.original_name)


def _children(module: Any) -> list[Any]:
    return [child for _, child in module.named_children()]


def _pad(module: Any) -> int:
    return int(module.padding)


def _convolution(module: Any) -> Layer:
    if not hasattr(module, "cache"):
        raise UnknownModuleError("convolutions without a past (an export without --streaming)")
    delay = module.downsampling_delay if hasattr(module, "downsampling_delay") else None
    return Convolution(module, _pad(delay) if delay is not None else 0, _pad(module.cache))


def _plain_convolution(module: Any) -> Layer:
    if int(module.weight.shape[-1]) != 1:
        raise UnknownModuleError("convolutions without a past (an export without --streaming)")
    return Convolution(module, 0, 0)


def _leaky(module: Any) -> Layer:
    slope = float(module.negative_slope)
    return Pointwise(lambda x: F.leaky_relu(x, slope))


def _batch_norm(module: Any) -> Layer:
    factor = (module.running_var + float(module.eps)).rsqrt()
    if module.weight is not None:
        factor = factor * module.weight
    summand = -module.running_mean * factor
    return Affine(factor, summand if module.bias is None else summand + module.bias)


def _adain(module: Any) -> Layer:
    """As it stands: what it was taught stays, and it learns no more."""
    if not (bool(module.num_update_x) and bool(module.num_update_y)):
        return Chain([])
    factor = module.std_y[0] / (module.std_x[0] + 1e-5)
    return Affine(factor, module.mean_y[0] - module.mean_x[0] * factor)


def _branches(module: Any) -> Branches:
    return Branches(
        [rebuild(child) for child in _children(module.branches)], [_pad(p) for p in _children(module.paddings)]
    )


def _noise(module: Any) -> Noise:
    net = rebuild(module.net)
    last = [child for child in _children(module.net) if hasattr(child, "weight")][-1]
    channels = int(module.data_size) * int(getattr(module, "n_channels", 1))
    return Noise(net, int(last.weight.shape[0]), int(module.target_size), channels)


def _generator_v2(module: Any) -> Layer:
    wave, noise = getattr(module, "waveform_module", None), getattr(module, "noise_module", None)
    return GeneratorV2(
        rebuild(module.net),
        None if wave is None else rebuild(wave),
        None if noise is None else _noise(noise),
        modulated=bool(module.amplitude_modulation),
    )


def _generator(module: Any) -> Layer:
    synth = _branches(module.synth)
    noisy = bool(module.use_noise) and bool(module.warmed_up)
    noise = synth.layers[2] if bool(module.use_noise) else None
    return Generator(rebuild(module.net), synth, int(module.loud_stride), noisy=noisy, noise=cast(Any, noise))


def _chain(module: Any) -> Layer:
    return Chain([rebuild(child) for child in _children(module)])


def _inner(name: str) -> Callable[[Any], Layer]:
    return lambda module: rebuild(getattr(module, name))


KNOWN: dict[str, Callable[[Any], Layer]] = {
    "AdaptiveInstanceNormalization": _adain,
    "AlignBranches": _branches,
    "BatchNorm1d": _batch_norm,
    "CachedConv1d": _convolution,
    "CachedConvTranspose1d": lambda module: TransposedConvolution(module),
    "CachedSequential": _chain,
    "Conv1d": _plain_convolution,
    "DilatedUnit": _inner("net"),
    "DiscreteEncoder": _inner("encoder"),
    "Encoder": _inner("net"),
    "EncoderV2": _inner("net"),
    "Generator": _generator,
    "GeneratorV2": _generator_v2,
    "Identity": lambda module: Chain([]),
    "LeakyReLU": _leaky,
    "NoiseGenerator": _noise,
    "NoiseGeneratorV2": _noise,
    "Residual": _inner("aligned"),
    "ResidualBlock": _inner("net"),
    "ResidualLayer": _inner("net"),
    "ResidualStack": _inner("net"),
    "SampleNorm": lambda module: Pointwise(lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True)),
    "Sequential": _chain,
    "Snake": lambda module: Snake(module.alpha),
    "SphericalEncoder": _inner("encoder"),
    "UpsampleLayer": _inner("net"),
    "VariationalEncoder": _inner("encoder"),
    "WasserteinEncoder": _inner("encoder"),
}
"""By the name of the class it was scripted from: how a module is rebuilt."""


def rebuild(module: Any) -> Layer:
    """The layer that does what a loaded module does.

    Raises:
        UnknownModuleError: there is something in it that is not known.
    """
    name = _name(module)
    if name not in KNOWN:
        raise UnknownModuleError(f"a module {name!r}")
    return KNOWN[name](module)


def _pqmf(model: Any) -> Pqmf | None:
    bank = getattr(model, "pqmf", None)
    if bank is None or int(bank.n_band) == 1:
        return None
    if _name(bank) != "CachedPQMF":
        raise UnknownModuleError(f"a filter bank {_name(bank)!r}")
    return Pqmf(rebuild(bank.forward_conv), rebuild(bank.inverse_conv), int(bank.n_band))


# The two graphs


FAMILIES = {
    "VariationalScriptedRAVE": "variational",
    "DiscreteScriptedRAVE": "discrete",
    "WasserteinScriptedRAVE": "Wasserstein",
    "SphericalScriptedRAVE": "spherical",
}


def family_of(model: Any) -> str:
    """What kind of RAVE a loaded model is; empty if it is none that is known."""
    return FAMILIES.get(_name(model), "")


def version_of(model: Any) -> str:
    """ "v1", "v2" or "v3", after the architecture and not after any file name."""
    names = {_name(module) for module in model.modules()}
    if "Snake" in names:
        return "v3"
    return "v1" if "Generator" in names else "v2"


class Latents(nn.Module):
    """Between the latents of the interface and those of the network, in both directions."""

    rotation: Tensor
    centre: Tensor
    books: Tensor
    squares: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.kind = family_of(model)
        self.kept = int(model.decode_params[0])
        self.fill = 0
        """Normal values that each frame draws in place of latents that are not given."""
        if self.kind == "variational":
            self.fill = int(model.full_latent_size) - self.kept
            self.register_buffer("rotation", model.latent_pca.detach().clone())
            self.register_buffer("centre", model.latent_mean.detach().clone()[None, :, None])
        elif self.kind == "discrete":
            self.fill = int(model.encoder.noise_augmentation)
            books, backs = [], []
            for layer in _children(model.encoder.rvq.layers):
                if _name(layer.project_in) != "Identity" or _name(layer.project_out) != "Identity":
                    raise UnknownModuleError("a projection before the codebook")
                books.append(layer._codebook.embed.detach().clone())
                backs.append(books[-1].pow(2).sum(1))
            self.register_buffer("books", torch.stack(books))
            self.register_buffer("squares", torch.stack(backs))
            self.size = len(books[0])
        elif self.kind == "Wasserstein":
            self.fill = int(model.encoder.noise_augmentation)
        elif self.kind != "spherical":
            raise UnknownModuleError(f"a model {_name(model)!r}")

    def inwards(self, latents: Tensor, fill: Tensor) -> Tensor:
        """(frames, kept), (frames, fill) -> (1, network's latents, frames)"""
        z = latents.T[None]
        if self.kind == "discrete":
            codes = z.clamp(0, self.size - 1).long()
            found = [F.embedding(codes[:, i], self.books[i]) for i in range(self.kept)]
            z = sum(found[1:], found[0]).permute(0, 2, 1)
        if self.kind == "spherical":
            return _on_sphere(z)
        if self.fill:
            z = torch.cat([z, fill.T[None]], 1)
        if self.kind == "variational":
            z = F.conv1d(z, self.rotation.T[:, :, None]) + self.centre
        return z

    def outwards(self, z: Tensor) -> Tensor:
        """(1, what the encoder's network gives, frames) -> (frames, kept); of a distribution its mean."""
        if self.kind == "variational":
            z = F.conv1d(z.chunk(2, 1)[0] - self.centre, self.rotation[:, :, None])[:, : self.kept]
        elif self.kind == "discrete":
            rest, codes = z.permute(0, 2, 1), []
            for i in range(self.kept):
                nearness = 2 * (rest @ self.books[i].T) - self.squares[i]
                code = nearness.argmax(-1)
                rest = rest - F.embedding(code, self.books[i])
                codes.append(code.float())
            z = torch.stack(codes, 1)
        elif self.kind == "spherical":
            z = _angles(z)
        return z[0].T


def _on_sphere(angles: Tensor) -> Tensor:
    """(1, n, t) in -1..1 -> unit vectors (1, n + 1, t); the last angle goes all the way round."""
    turn = angles / 2 + 0.5
    turn = turn - turn.floor()
    n = angles.shape[1]
    angles = turn * torch.tensor([math.pi] * (n - 1) + [2 * math.pi])[None, :, None]
    sine, cosine = angles.sin(), angles.cos()
    product, rows = torch.ones_like(sine[:, :1]), []
    for i in range(n):
        rows.append(product * cosine[:, i : i + 1])
        product = product * sine[:, i : i + 1]
    return torch.cat([*rows, product], 1)


def _angles(x: Tensor) -> Tensor:
    """Vectors (1, n + 1, t) of any length -> angles (1, n, t) in -1..1, as `_on_sphere` reads them."""
    n = x.shape[1] - 1
    square, norms = x[:, n : n + 1] ** 2, []
    for i in reversed(range(n)):
        square = square + x[:, i : i + 1] ** 2
        norms.append(square.sqrt())
    angles = torch.acos(x[:, :n] / torch.cat(norms[::-1], 1))
    last = torch.where(x[:, n:] >= 0, angles[:, -1:], 2 * math.pi - angles[:, -1:])
    return 2 * (torch.cat([angles[:, :-1] / math.pi, last / (2 * math.pi)], 1) - 0.5)


class DecoderGraph(nn.Module):
    """latents (frames, D), noise (frames, normals + uniforms), caches... -> audio (channels, samples), caches..."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        rebuilder = Rebuilder()
        self.latents = Latents(model)
        self.network = rebuild(model.decoder)
        self.channels = int(getattr(model, "n_channels", 1))
        self.played = int(getattr(model, "target_channels", self.channels))
        self.pqmf = _pqmf(model) if getattr(model, "output_mode", "pqmf") == "pqmf" else None
        self.hop = int(model.decode_params[1])
        self.up: Layer | None = None
        if self.played > self.channels:
            raise UnknownModuleError(f"{self.played} channels made of {self.channels}")
        self.network.begin(rebuilder, 1, 0)
        rate = self.hop  # samples of each band for each frame
        if self.pqmf:
            self.pqmf.synthesis.begin(rebuilder, self.channels, self.pqmf.bands)
            rate //= self.pqmf.bands
        resampler = getattr(model, "resampler", None)
        if resampler is not None:
            self.up = rebuild(resampler.upsample)
            self.up.begin(rebuilder, self.channels, 1)
            rate //= int(resampler.ratio)
        self.noise = next((m for m in self.network.modules() if isinstance(m, Noise)), None)
        self.normals = self.latents.fill
        self.uniforms = rate * self.noise.channels if self.noise else 0
        self.shapes = rebuilder.shapes

    def forward(self, latents: Tensor, noise: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        tape = Tape(list(caches))
        if self.noise:
            self.noise.white = noise[:, self.normals :]
        y = self.network.play(self.latents.inwards(latents, noise[:, : self.normals]), tape)
        y = y.reshape(self.channels, -1, y.shape[-1])
        if self.pqmf:
            y = self.pqmf.join(y, tape)
        if self.up:
            y = self.up.play(y, tape).permute(0, 2, 1).reshape(self.channels, 1, -1)
        return (y[: self.played, 0], *tape.after)


class EncoderGraph(nn.Module):
    """audio (channels, samples), caches... -> latents (frames, D), caches..."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        rebuilder = Rebuilder()
        self.latents = Latents(model)
        self.channels = int(model.encode_params[0])
        mode = getattr(model, "input_mode", "pqmf")
        if mode == "mel":
            raise UnknownModuleError("an encoder of mel spectra")
        self.down: Layer | None = None
        resampler = getattr(model, "resampler", None)
        if resampler is not None:
            self.down = rebuild(resampler.downsample)
            self.down.begin(rebuilder, self.channels, 1)
        self.pqmf = _pqmf(model) if mode == "pqmf" else None
        if self.pqmf:
            self.pqmf.analysis.begin(rebuilder, self.channels, 1)
        self.network = rebuild(model.encoder)
        self.network.begin(rebuilder, 1, self.channels * (self.pqmf.bands if self.pqmf else 1))
        self.shapes = rebuilder.shapes

    def forward(self, audio: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        tape = Tape(list(caches))
        x = audio[:, None]
        if self.down:
            x = self.down.play(x, tape)
        if self.pqmf:
            x = self.pqmf.split(x, tape)
        x = x.reshape(1, -1, x.shape[-1])
        return (self.latents.outwards(self.network.play(x, tape)), *tape.after)
