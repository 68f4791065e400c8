"""Fitting a terrain to pairs of coordinates and latents.

Three steps, each usable alone: the last layer in closed form (a rough terrain within tens of milliseconds), Adam with
large batches and a learning rate that rises and falls, and the last layer in closed form once more, on what the hidden
layers have become. benchmarks/terrain_fit.py compares this with plain Adam.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import DivergedError, InputError
from terrain_core.terrain.model import Terrain
from terrain_core.terrain.network import Architecture, FloatArray, Network
from terrain_core.terrain.quality import decibels, psnr
from terrain_core.terrain.ridge import last_layer

PUBLISH_SECONDS = 0.1
"""A terrain that is being fitted takes the weights reached so far at most this often."""

DIVERGED_LOSS = 1e4
"""A loss this many times the variance of the latents, which the mean alone would give, is never coming back."""


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Attributes:
        epochs: passes over the data; 0 gives the closed-form start alone.
        learning_rate: of Adam, at its peak.
        betas: memory of Adam's two running means; the usual (0.9, 0.999) remembers too long for fits as short as these.
        schedule: "one-cycle" rises over the first twentieth and falls to 0 as a cosine; "constant" stays.
        batch_size: pairs per step; None: an eighth of the data, 64..128.
        ridge_start: penalty of the closed-form start (see `ridge.last_layer`); None leaves it out. It is used for a
            terrain's first fit only, not when one is continued.
        ridge_end: penalty of the closed-form end; None leaves it out.
        jitter: standard deviation of the noise on the coordinates, as a part of the bounds; smooths the terrain.
        device: "cpu", "cuda" or "mps".
        threads: CPU threads of torch while fitting; 1 leaves the others to the player.
        seed: of the shuffling and the jitter.
    """

    epochs: int = 300
    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.95, 0.98)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    batch_size: int | None = None
    ridge_start: float | None = 1e-2
    ridge_end: float | None = 1e-6
    jitter: float = 0.0
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "epochs": (self.epochs >= 0, "0 or more"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "betas": (
                len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
                "two numbers in 0..1, 1 left out",
            ),
            "schedule": (self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "1 or more, or None"),
            "ridge_start": (self.ridge_start is None or self.ridge_start > 0, "above 0, or None"),
            "ridge_end": (self.ridge_end is None or self.ridge_end > 0, "above 0, or None"),
            "jitter": (0 <= self.jitter <= 1, "0..1"),
            "threads": (self.threads >= 1, "1 or more"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    def batch_for(self, count: int) -> int:
        """Pairs per step for that many pairs."""
        return self.batch_size or min(max(count // 8, 64), 128)


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "one-cycle": lambda done: min(1.0, done / 0.05) * 0.5 * (1 + math.cos(math.pi * done)),
    "constant": lambda done: 1.0,
}
"""Factor of the learning rate, by the part of the steps that is done."""


@dataclass(frozen=True)
class Normalisation:
    """What the network sees while it is fitted: latents around 0 with a variance of 1 in all, coordinates within ±1.

    Both are undone exactly in the first and last layer, so the terrain's own tensors take coordinates and give latents
    as they are. Where there are Fourier features, the frequencies fix the scale of the coordinates, and they stay.
    """

    latent_mean: FloatArray
    latent_scale: float
    coordinate_centre: NDArray[np.float64]
    coordinate_scale: NDArray[np.float64]

    @classmethod
    def of(cls, terrain: Terrain, latents: NDArray[np.float64]) -> Normalisation:
        scale = float(latents.std(axis=0).mean()) or 1.0
        centre, span = np.zeros(terrain.control_size), np.ones(terrain.control_size)
        if terrain.gauss_scale == 0:
            centre, span = terrain.bounds.mean(axis=1), np.ptp(terrain.bounds, axis=1) / 2
        return cls(latents.mean(axis=0).astype(np.float32), scale, centre, span)

    def to_inside(self, weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The terrain's tensors -> those of the network that is fitted."""
        inside = {name: array.astype(np.float64) for name, array in weights.items()}
        inside["fc_out.weight"] /= self.latent_scale
        inside["fc_out.bias"] = (inside["fc_out.bias"] - self.latent_mean) / self.latent_scale
        if "fc_in_linear.weight" in inside:
            inside["fc_in_linear.bias"] += inside["fc_in_linear.weight"] @ self.coordinate_centre
            inside["fc_in_linear.weight"] *= self.coordinate_scale
        return {name: array.astype(np.float32) for name, array in inside.items()}

    def to_outside(self, weights: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The inverse of `to_inside`."""
        outside = {name: array.astype(np.float64) for name, array in weights.items()}
        outside["fc_out.weight"] *= self.latent_scale
        outside["fc_out.bias"] = outside["fc_out.bias"] * self.latent_scale + self.latent_mean
        if "fc_in_linear.weight" in outside:
            outside["fc_in_linear.weight"] /= self.coordinate_scale
            outside["fc_in_linear.bias"] -= outside["fc_in_linear.weight"] @ self.coordinate_centre
        return {name: array.astype(np.float32) for name, array in outside.items()}


@dataclass(frozen=True)
class FitState:
    """What `fit` needs to go on where it stopped: Adam's moments, and how far it came."""

    epochs: int
    steps: int
    normalisation: Normalisation
    moments: Mapping[str, FloatArray] = field(default_factory=dict)

    def arrays(self) -> dict[str, FloatArray]:
        """The arrays to be stored."""
        return {**self.moments, "latent_mean": self.normalisation.latent_mean}

    def settings(self) -> dict[str, Any]:
        """Everything else that `from_arrays` needs, fit for JSON."""
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "latent_scale": self.normalisation.latent_scale,
            "coordinate_centre": self.normalisation.coordinate_centre.tolist(),
            "coordinate_scale": self.normalisation.coordinate_scale.tolist(),
        }

    @classmethod
    def from_arrays(cls, terrain: Terrain, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> FitState:
        """The state that gave `settings()` and `arrays()`, for that terrain.

        Raises:
            InputError: something is missing, of the wrong shape, or not finite.
        """
        try:
            moments = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
            normalisation = Normalisation(
                moments.pop("latent_mean"),
                float(settings["latent_scale"]),
                np.asarray(settings["coordinate_centre"], np.float64),
                np.asarray(settings["coordinate_scale"], np.float64),
            )
            state = cls(int(settings["epochs"]), int(settings["steps"]), normalisation, moments)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"fit state is incomplete or damaged: {error}") from error
        _check_state(terrain.architecture, state)
        return state


def _check_state(architecture: Architecture, state: FitState) -> None:
    shapes = {
        f"{name}.{moment}": shape
        for name, shape in architecture.tensors().items()
        for moment in ("exp_avg", "exp_avg_sq")
        if name != "B_T"
    }
    found = {name: array.shape for name, array in state.moments.items()}
    normal = state.normalisation
    control_shape, latent_shape = (architecture.control_size,), (architecture.latent_size,)
    normal_shapes = (normal.coordinate_centre.shape, normal.coordinate_scale.shape, normal.latent_mean.shape)
    if found not in ({}, shapes) or normal_shapes != (control_shape, control_shape, latent_shape):
        raise InputError("fit state does not belong to this terrain: its tensors have other names or shapes")
    numbers: list[NDArray[Any]] = [normal.latent_mean, normal.coordinate_centre, normal.coordinate_scale]
    numbers += state.moments.values()
    scales_good = normal.latent_scale > 0 and (normal.coordinate_scale > 0).all()
    if not all(np.isfinite(array).all() for array in numbers) or not scales_good or min(state.epochs, state.steps) < 0:
        raise InputError("fit state holds values that are not finite or out of range")


@dataclass(frozen=True)
class FitProgress:
    """Where a fit stands after an epoch."""

    epoch: int
    """Since the terrain's first fit; continued fits go on counting."""
    epochs: int
    """At which this fit will be done."""
    loss: float
    """Mean squared error of the latents over the epoch, before each step; nn.terrain's `loss`."""
    psnr: float
    """dB, from `loss` and the range of the latents."""


@dataclass(frozen=True)
class FitReport:
    """What a fit came to."""

    epochs: int
    loss: float
    """Mean squared error of the latents at the end."""
    psnr: float
    """dB, as `quality.psnr`."""
    seconds: float
    stopped: bool
    """True if `stop` was set before all epochs were done."""
    state: FitState


def fit(
    terrain: Terrain,
    coordinates: ArrayLike,
    latents: ArrayLike,
    settings: FitSettings | None = None,
    *,
    callback: Callable[[FitProgress], None] | None = None,
    stop: threading.Event | None = None,
    state: FitState | None = None,
) -> FitReport:
    """Fit the terrain in place; it may be played meanwhile and is heard to change.

    Args:
        terrain: takes the new weights while it is fitted, each time all at once.
        coordinates: shape (n, C), in the units of the terrain's bounds.
        latents: shape (n, D).
        settings: defaults if None.
        callback: called after each epoch, in this thread.
        stop: when set, the fit ends within one step and keeps what it has reached.
        state: of an earlier report, to continue that fit.
    Raises:
        InputError: no pairs, wrong shapes, NaN, a device that is not there.
        DivergedError: the loss became NaN or grew without bound; the terrain keeps its last good weights.
    """
    return _Fit(
        terrain, coordinates, latents, settings or FitSettings(), callback, stop or threading.Event(), state
    ).run()


class _Fit:
    """One call of `fit`."""

    def __init__(
        self,
        terrain: Terrain,
        coordinates: ArrayLike,
        latents: ArrayLike,
        settings: FitSettings,
        callback: Callable[[FitProgress], None] | None,
        stop: threading.Event,
        state: FitState | None,
    ) -> None:
        self.terrain, self.settings, self.callback, self.stop = terrain, settings, callback, stop
        self.coordinates, self.latents = checked_pairs(terrain, coordinates, latents)
        if state is not None:
            _check_state(terrain.architecture, state)
        self.earlier = state or FitState(0, 0, Normalisation.of(terrain, self.latents))
        self.continued = state is not None
        self.normalisation = self.earlier.normalisation
        self.peak = float(np.ptp(self.latents))
        self.best = math.inf
        self.published = -math.inf

    def run(self) -> FitReport:
        started = time.perf_counter()
        if not self.continued and self.settings.ridge_start is not None:
            self.solve_last_layer(self.settings.ridge_start)
        state = self.earlier
        if self.settings.epochs and not self.stop.is_set():
            state = self.run_adam()
            if self.settings.ridge_end is not None:
                self.solve_last_layer(self.settings.ridge_end)
        seconds = time.perf_counter() - started
        error = float(np.square(self.terrain(self.coordinates) - self.latents).mean())
        quality = psnr(self.terrain, self.coordinates, self.latents)
        stopped = state.epochs - self.earlier.epochs < self.settings.epochs
        return FitReport(state.epochs, error, quality, seconds, stopped, state)

    def solve_last_layer(self, ridge: float) -> None:
        weights = dict(self.terrain.weights)
        network = Network(self.terrain.architecture, weights)
        weights["fc_out.weight"], weights["fc_out.bias"] = last_layer(network, self.coordinates, self.latents, ridge)
        self.publish(weights)

    def publish(self, weights: Mapping[str, FloatArray]) -> None:
        try:
            self.terrain.replace_weights(weights)
        except InputError as error:
            raise DivergedError(f"the fit diverged ({error}); the terrain keeps its last good weights") from error

    def run_adam(self) -> FitState:
        import torch

        from terrain_core.terrain.adam_torch import AdamTrainer

        threads = torch.get_num_threads()
        torch.set_num_threads(self.settings.threads)
        try:
            trainer = AdamTrainer(
                self.terrain.architecture,
                self.normalisation.to_inside(self.terrain.weights),
                (self.coordinates - self.normalisation.coordinate_centre) / self.normalisation.coordinate_scale,
                (self.latents - self.normalisation.latent_mean) / self.normalisation.latent_scale,
                betas=self.settings.betas,
                device=self.settings.device,
                seed=self.settings.seed + self.earlier.epochs,
                moments=self.earlier.moments,
                steps=self.earlier.steps,
            )
            return self.train(trainer)
        finally:
            torch.set_num_threads(threads)

    def train(self, trainer: Any) -> FitState:
        batch_size = self.settings.batch_for(len(self.latents))
        epochs, per_epoch = self.settings.epochs, math.ceil(len(self.latents) / batch_size)
        schedule = SCHEDULES[self.settings.schedule]
        jitter = None
        if self.settings.jitter:
            jitter = self.settings.jitter * np.ptp(self.terrain.bounds, axis=1) / self.normalisation.coordinate_scale
        done, step = 0, 0
        while done < epochs and not self.stop.is_set():
            losses = []
            for inputs, targets in trainer.batches(batch_size, jitter):
                if self.stop.is_set():
                    break
                step += 1
                rate = self.settings.learning_rate * schedule(step / (epochs * per_epoch))
                losses.append(trainer.step(inputs, targets, rate) * (len(targets) / len(self.latents)))
            else:
                done += 1
                self.end_epoch(trainer, done, float(sum(losses)))
        self.publish(self.normalisation.to_outside(trainer.weights()))
        return FitState(self.earlier.epochs + done, self.earlier.steps + step, self.normalisation, trainer.moments())

    def end_epoch(self, trainer: Any, done: int, loss: float) -> None:
        if not loss < DIVERGED_LOSS:  # NaN is not less than anything either
            raise DivergedError(
                f"the fit diverged in epoch {self.earlier.epochs + done} (loss {loss:.3g} of the latents' variance); "
                "the terrain keeps its last good weights; try a lower learning rate"
            )
        self.best = min(self.best, loss)
        now = time.perf_counter()
        if now - self.published >= PUBLISH_SECONDS and loss <= 10 * self.best:
            self.publish(self.normalisation.to_outside(trainer.weights()))
            self.published = now
        if self.callback is not None:
            error = loss * self.normalisation.latent_scale**2
            until = self.earlier.epochs + self.settings.epochs
            self.callback(FitProgress(self.earlier.epochs + done, until, error, decibels(error, self.peak)))


def checked_pairs(
    terrain: Terrain, coordinates: ArrayLike, latents: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (n, C) and latents (n, D) as float64, n at least 1, all finite; or InputError."""
    pairs = []
    for name, values, size in (
        ("coordinates", coordinates, terrain.control_size),
        ("latents", latents, terrain.latent_size),
    ):
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} are not numbers in rows of equal length; expected shape (n, {size})") from None
        if array.ndim != 2 or array.shape[1] != size:
            raise InputError(f"{name} have shape {array.shape}; the terrain expects (n, {size})")
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad):
            raise InputError(f"{name} hold NaN or infinity in {len(bad)} rows, the first is row {bad[0]}")
        pairs.append(array)
    if len(pairs[0]) != len(pairs[1]) or not len(pairs[0]):
        raise InputError(f"{len(pairs[0])} coordinates and {len(pairs[1])} latents; expected as many, and at least one")
    return pairs[0], pairs[1]


class FitThread:
    """A fit in the background. `start`, then play on; `stop` keeps what was reached; `join` gives the report."""

    def __init__(
        self,
        terrain: Terrain,
        coordinates: ArrayLike,
        latents: ArrayLike,
        settings: FitSettings | None = None,
        *,
        callback: Callable[[FitProgress], None] | None = None,
        state: FitState | None = None,
    ) -> None:
        """Arguments as `fit`; they are checked here, so that mistakes show before the thread starts."""
        self._stop = threading.Event()
        self._callback = callback
        self._progress: FitProgress | None = None
        self._report: FitReport | None = None
        self._error: BaseException | None = None
        self._fit = _Fit(
            terrain, np.array(coordinates), np.array(latents), settings or FitSettings(), self._note, self._stop, state
        )
        self._thread = threading.Thread(target=self._run, name="terrain fit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the fit to end within one step; does not wait."""
        self._stop.set()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def progress(self) -> FitProgress | None:
        """After the latest epoch; None before the first."""
        return self._progress

    def join(self, timeout: float | None = None) -> FitReport | None:
        """Wait for the fit's end and give its report; None if it has not ended after `timeout` seconds.

        Raises:
            DivergedError: as `fit`; so do all its other errors come out here.
        """
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self._report

    def _note(self, progress: FitProgress) -> None:
        self._progress = progress
        if self._callback is not None:
            self._callback(progress)

    def _run(self) -> None:
        try:
            self._report = self._fit.run()
        except BaseException as error:  # handed to whoever joins
            self._error = error
