"""What the latents of a corpus are like: where their middle is, how they spread, and where they hardly ever are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import InputError

Vectors = NDArray[np.float64]

SMALLEST_SHARE = 1e-8
"""Directions with less than this part of the largest variance do not count as directions."""


@dataclass(frozen=True)
class LatentSpace:
    """The aggregate posterior, as its mean, its covariance and how far its own latents lie from the middle.

    The distance is Mahalanobis': in standard deviations along each principal direction. Of a Gaussian it would be
    chi-distributed; a corpus' latents are none, so its own distances say which radius holds which share of it.

    Attributes:
        mean: (D,)
        axes: (K, D) principal directions, orthonormal, the widest first; K at most D.
        deviations: (K,) standard deviation along each, above 0.
        distances: (m,) rising: the corpus' own distances.
        low, high: (D,) quantiles 0.01 and 0.99 of each latent.
    """

    mean: Vectors
    axes: Vectors
    deviations: Vectors
    distances: Vectors
    low: Vectors
    high: Vectors

    @classmethod
    def of(cls, latents: ArrayLike) -> LatentSpace:
        """The space of latents (n, D).

        Raises:
            InputError: fewer than two, or all the same.
        """
        rows = np.asarray(latents, np.float64)
        if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
            raise InputError(f"latents of shape {rows.shape}: expected (n, D) finite numbers, n at least 2")
        mean = rows.mean(axis=0)
        centred = rows - mean
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
        kept = np.flatnonzero(variances > max(variances.max() * SMALLEST_SHARE, 1e-20))[::-1]
        if not len(kept):
            raise InputError(f"{len(rows)} latents that are all the same: expected some that differ")
        axes = vectors[:, kept].T
        # A direction may point either way; the largest of its components shall be positive.
        axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1))
        deviations = np.sqrt(variances[kept])
        distances = np.sort(np.linalg.norm(centred @ axes.T / deviations, axis=1))
        low, high = np.quantile(rows, [0.01, 0.99], axis=0)
        return cls(mean, axes, deviations, distances, low, high)

    @classmethod
    def of_autoencoder(cls, autoencoder: Autoencoder, samples: int = 4096) -> LatentSpace:
        """From what an autoencoder says of what it was trained on: its mean and deviation, latent by latent."""
        noise = np.random.default_rng(0).normal(size=(samples, autoencoder.latent_size))
        return cls.of(autoencoder.latent_mean + noise * autoencoder.latent_std)

    @property
    def latent_size(self) -> int:
        """D"""
        return len(self.mean)

    def whitened(self, latents: ArrayLike) -> Vectors:
        """(..., D) -> (..., K): along the axes, in standard deviations."""
        rows: Vectors = (np.asarray(latents, np.float64) - self.mean) @ self.axes.T / self.deviations
        return rows

    def latents(self, whitened: ArrayLike) -> Vectors:
        """(..., K) -> (..., D), the inverse of `whitened` within the corpus' directions."""
        rows: Vectors = self.mean + np.asarray(whitened, np.float64) * self.deviations @ self.axes
        return rows

    def distance(self, latents: ArrayLike) -> Vectors:
        """Mahalanobis distance of each of (..., D) from the mean: (...)."""
        away: Vectors = np.linalg.norm(self.whitened(latents), axis=-1)
        return away

    def radius(self, share: float = 0.95) -> float:
        """The distance within which that share of the corpus lies.

        Raises:
            InputError: a share that is not in 0..1.
        """
        if not 0 < share <= 1:
            raise InputError(f"a share of {share}: expected above 0 and at most 1")
        return float(np.quantile(self.distances, share))

    def clipped(self, latents: ArrayLike, share: float = 0.95) -> Vectors:
        """Latents outside the region of that share, moved towards the mean onto its border; the others as they are."""
        rows = np.asarray(latents, np.float64)
        away = self.distance(rows)[..., np.newaxis]
        radius = self.radius(share)
        outside = away > radius
        moved = self.latents(self.whitened(rows) * (radius / np.maximum(away, radius)))
        return np.where(outside, moved, rows)

    def draw(self, count: int, seed: int = 0, temperature: float = 1.0) -> Latents:
        """Latents (count, D) as the corpus has them, by a Gaussian of its mean and covariance.

        Args:
            temperature: scales the deviations: 0 gives the mean, 1 the corpus' own spread.
        """
        if count < 0 or not 0 <= temperature < np.inf:
            raise InputError(f"{count} draws at temperature {temperature}: expected 0 or more of both")
        noise = np.random.default_rng(seed).normal(size=(count, len(self.deviations)))
        return self.latents(temperature * noise).astype(np.float32)
