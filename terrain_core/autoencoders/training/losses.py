"""Distances between sounds: what training minimises and what the tables report."""

from __future__ import annotations

import auraloss
import torch
from torch import Tensor, nn

from terrain_core.autoencoders.features import mel_edges, triangles

MEL_FLOOR = 1e-4
"""-80 dBFS for a sine: quieter parts count as silence."""
DB_PER_NEPER = 8.685889638


class LogMel(nn.Module):
    """Logarithm of mel-band magnitudes, a full-scale sine being about 0. (batch, samples) -> (batch, bands, n)."""

    filters: Tensor
    window: Tensor

    def __init__(self, fft_size: int, hop: int, bands: int) -> None:
        super().__init__()
        self.fft_size, self.hop = fft_size, hop
        filters = torch.from_numpy(triangles(mel_edges(30.0, 18000.0, bands), fft_size))
        self.register_buffer("filters", filters.T.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        return torch.log(self.magnitudes(audio).clamp_min(MEL_FLOOR))

    def magnitudes(self, audio: Tensor) -> Tensor:
        """The bands themselves, a full-scale sine being about 1."""
        spectrum = torch.stft(audio, self.fft_size, self.hop, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = (power + 1e-12).sqrt() * (4.0 / self.fft_size)
        bands: Tensor = self.filters @ magnitude
        return bands


class SpectralLoss(nn.Module):
    """auraloss' multi-resolution STFT loss plus the L1 distance of log-mel spectra at two resolutions."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [2048, 1024, 512, 256]
        hops = [size // 4 for size in sizes]
        self.stft = auraloss.freq.MultiResolutionSTFTLoss(sizes, hops, sizes)
        self.mels = nn.ModuleList([LogMel(2048, 512, 80), LogMel(512, 128, 40)])

    def forward(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, samples) each -> the STFT term and the mel term (mean over resolutions, in nepers)."""
        stft = self.stft(output[:, None], target[:, None])
        mel = torch.stack([(m(output) - m(target)).abs().mean() for m in self.mels]).mean()
        return stft, mel


def kl_per_frame(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence from the standard normal in nats, summed over latents, averaged over frames."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=-1).mean()
