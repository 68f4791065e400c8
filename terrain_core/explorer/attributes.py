"""Attributes: directions in the latent space that change what is heard by a known amount, in its own unit.

Learned by regression on what is measured of the sound that latents give, or from sounds that a player calls more (A)
or less (B) of something. A strength is asked for in the attribute's unit; what it came to is measured and said beside
it, since a decoder is no linear function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import InputError
from terrain_core.explorer.collection import Collection
from terrain_core.explorer.descriptors import Descriptors, attack_span, decoded, measure
from terrain_core.explorer.morph import sampled
from terrain_core.explorer.space import LatentSpace, Vectors

HELD_FRAMES = 32
"""Frames that a latent is held to measure it; the first half, in which the decoder settles, is left out."""

RIDGE = 1e-2
"""Penalty of the regression, in parts of the number of examples."""

LEAST_EXAMPLES = 20

QUIETEST_LUFS = -60.0
"""What is not louder has no brightness or pitch to learn from."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured, on the scale that a listener's steps are equal on.

    Attributes:
        unit: of one step.
        of: from what was measured to the scale; NaN where there is nothing to measure.
        in_time: it is the course of the sound that has it, not a latent.
    """

    unit: str
    of: Callable[[Descriptors], float]
    in_time: bool = False


def _log2(value: float) -> float:
    return math.log2(value) if value > 0 else math.nan


QUANTITIES: Final[Mapping[str, Quantity]] = {
    "brightness": Quantity("octaves", lambda d: _log2(d.brightness_hz)),
    "noisiness": Quantity("dB", lambda d: d.noisiness_db),
    "loudness": Quantity("LU", lambda d: d.loudness_lufs),
    "pitch": Quantity("semitones", lambda d: 12 * _log2(d.pitch_hz / 440)),
    "attack": Quantity("ms", lambda d: 1000 * d.attack_s, in_time=True),
    "duration": Quantity("s", lambda d: d.duration_s, in_time=True),
}
"""Those of a sound's course are not learned for a streaming autoencoder: there its trajectory is stretched. For a
one-shot autoencoder, whose latent is a whole sound, they are learned as the others are.
"""


@dataclass(frozen=True)
class Attribute:
    """A direction.

    Attributes:
        name: one of `QUANTITIES`, or a player's own word.
        unit: of a strength of 1.
        direction: (D,), what is added to every latent for a strength of 1.
        gradient: (D,), how much of it each latent has, whatever direction is taken: what orthogonalising is about.
        fit: share of the variance that the regression explains on examples it was not shown, at most 1; NaN for a
            player's own.
        examples: how many it was learned from.
    """

    name: str
    unit: str
    direction: NDArray[np.float64]
    gradient: NDArray[np.float64]
    fit: float = math.nan
    examples: int = 0

    def move(self, latents: ArrayLike, strength: float) -> Latents:
        """Latents (frames, D) with that much more of it (less if negative)."""
        if not math.isfinite(strength):
            raise InputError(f"{self.name} by {strength}: expected a finite number of {self.unit}")
        return (np.asarray(latents, np.float64) + strength * self.direction).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return {
            "name": self.name,
            "unit": self.unit,
            "direction": self.direction.tolist(),
            "gradient": self.gradient.tolist(),
            "fit": None if math.isnan(self.fit) else self.fit,
            "examples": self.examples,
        }

    @classmethod
    def from_dict(cls, facts: Any) -> Attribute:
        """
        Raises:
            InputError: what is there is no attribute.
        """
        try:
            direction, gradient = (np.array(facts[key], np.float64) for key in ("direction", "gradient"))
            fit = math.nan if facts.get("fit") is None else float(facts["fit"])
            made = cls(str(facts["name"]), str(facts["unit"]), direction, gradient, fit, int(facts.get("examples", 0)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"an attribute that is none ({error!r})") from error
        if direction.ndim != 1 or direction.shape != gradient.shape or not np.isfinite([direction, gradient]).all():
            raise InputError(f"the attribute {made.name!r} has no direction of finite numbers")
        return made


@dataclass(frozen=True)
class Examples:
    """Latents, and what is measured of their sound, learned from by `learn`.

    Attributes:
        latents: (n, D)
        measured: (n,)
    """

    latents: Latents
    measured: tuple[Descriptors, ...]

    @classmethod
    def of(
        cls,
        latents: ArrayLike,
        autoencoder: Autoencoder,
        *,
        seed: int = 0,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Examples:
        """Measure the sound of each latent (n, D), held for a while; of a one-shot autoencoder, the whole hit."""
        rows = np.asarray(latents, np.float32)
        held, settling = (1, 0) if isinstance(autoencoder, OneShotAutoencoder) else (HELD_FRAMES, HELD_FRAMES // 2)
        measured = []
        for done, row in enumerate(rows, start=1):
            audio = decoded(autoencoder, np.repeat(row[np.newaxis], held, axis=0), seed=seed)
            measured.append(measure(audio[:, settling * autoencoder.hop :], autoencoder.sample_rate))
            progress(done, len(rows))
        return cls(rows, tuple(measured))

    def values(self, name: str) -> Vectors:
        """What they have of a quantity, (n,); NaN where there is nothing to hear."""
        quantity = quantity_of(name)
        values = [quantity.of(d) if d.loudness_lufs > QUIETEST_LUFS else math.nan for d in self.measured]
        return np.array(values)


def examples_from(collection: Collection, count: int, seed: int = 0) -> Latents:
    """Latents (n, D) to learn from: half of them what sounds hold, half any frames; fewer if there are not as many."""
    random = np.random.default_rng(seed)
    held, frames = collection.held(), collection.frames()
    chosen = random.permutation(len(held))[: count // 2]
    others = random.permutation(len(frames))[: count - len(chosen)]
    return np.unique(np.concatenate([held[chosen], frames[others]]), axis=0)


def quantity_of(name: str) -> Quantity:
    """
    Raises:
        InputError: no quantity of that name.
    """
    if name not in QUANTITIES:
        raise InputError(f"nothing called {name!r} is measured: expected one of {', '.join(QUANTITIES)}")
    return QUANTITIES[name]


def learned(name: str, autoencoder: Autoencoder) -> bool:
    """Whether a quantity has a direction in this autoencoder's latents; otherwise sounds are stretched in time for it.

    Raises:
        InputError: no quantity of that name.
    """
    return not quantity_of(name).in_time or isinstance(autoencoder, OneShotAutoencoder)


def learn(name: str, examples: Examples, space: LatentSpace, *, seed: int = 0) -> Attribute:
    """A quantity's direction, by ridge regression on examples, seen from the corpus' own spread: of all directions
    that change it by one unit, the one that is shortest in standard deviations, so that sounds stay likely.

    Four fifths of the examples are learned from; on the rest it is said how well it fits.

    Raises:
        InputError: too few examples in which it can be measured, or all alike in it.
    """
    values = examples.values(name)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < LEAST_EXAMPLES or np.ptp(values[known]) == 0:
        raise InputError(
            f"{name} can be measured in {len(known)} of {len(values)} examples: expected at least {LEAST_EXAMPLES}, "
            "and not all alike"
        )
    order = np.random.default_rng(seed).permutation(known)
    held_out, used = order[: len(order) // 5], order[len(order) // 5 :]
    points = space.whitened(examples.latents)
    slope, offset = _ridge(points[used], values[used])
    errors = values[held_out] - points[held_out] @ slope - offset
    fit = 1 - float((errors**2).sum() / max(((values[held_out] - values[held_out].mean()) ** 2).sum(), 1e-12))
    return _attribute(name, QUANTITIES[name].unit, slope, space, fit, len(used))


def from_examples(name: str, more: ArrayLike, less: ArrayLike, space: LatentSpace) -> Attribute:
    """A player's own attribute: sounds that have more of it (n, D) and sounds that have less (m, D).

    Its unit is the way from the mean of the one to the mean of the other. The direction is the difference of the means
    itself; with many examples the regression (Fisher's discriminant) says what of a latent counts as having it.

    Raises:
        InputError: nothing on one side, or both the same.
    """
    a, b = (np.atleast_2d(np.asarray(rows, np.float64)) for rows in (more, less))
    if 0 in a.shape or 0 in b.shape or a.shape[1] != space.latent_size or b.shape[1] != space.latent_size:
        raise InputError(f"examples of shapes {a.shape} and {b.shape}: expected (n, {space.latent_size}), n at least 1")
    way = a.mean(axis=0) - b.mean(axis=0)
    along = space.whitened(a.mean(axis=0)) - space.whitened(b.mean(axis=0))
    if not np.linalg.norm(along) > 1e-9:
        raise InputError(f"{name}: both sides have the same mean; give examples that differ in it")
    within = np.eye(len(along)) * RIDGE
    for rows in (a, b):
        centred = space.whitened(rows) - space.whitened(rows).mean(axis=0)
        within = within + centred.T @ centred / max(len(a) + len(b) - 2, 1)
    slope = np.linalg.solve(within, along)
    slope = slope / float(slope @ along)  # 1 between the means
    gradient = slope / space.deviations @ space.axes
    return Attribute(name, "A to B", way, gradient, examples=len(a) + len(b))


def orthogonal(attributes: Sequence[Attribute], space: LatentSpace) -> list[Attribute]:
    """The same attributes with directions that leave all the others as they are, by what was learned of them: of all
    such, the shortest in standard deviations.

    Raises:
        InputError: one of them is, to the regression, made of others; or more of them than directions.
    """
    if not attributes:
        return []
    gradients = np.stack([a.gradient @ (space.axes.T * space.deviations) for a in attributes])  # per deviation
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    if np.linalg.matrix_rank(gradients / np.maximum(lengths, 1e-300), tol=1e-3) < len(attributes):
        names = ", ".join(a.name for a in attributes)
        raise InputError(f"{names} cannot be changed one without the other: orthogonalise fewer")
    ways = np.linalg.pinv(gradients)
    return [
        replace(attribute, direction=ways[:, k] * space.deviations @ space.axes)
        for k, attribute in enumerate(attributes)
    ]


@dataclass(frozen=True)
class Applied:
    """A sound with an attribute changed.

    Attributes:
        latents: (frames, D)
        asked, achieved: the change, in `unit`; NaN if it cannot be measured.
        before, after: what was measured, on the same scale.
    """

    latents: Latents
    unit: str
    asked: float
    achieved: float
    before: float
    after: float


def apply(
    latents: ArrayLike,
    attribute: Attribute | str,
    asked: float,
    autoencoder: Autoencoder,
    *,
    corrections: int = 3,
    seed: int = 0,
) -> Applied:
    """Change a sound (frames, D), and measure what came of it.

    Args:
        attribute: one that was learned; or, of a streaming autoencoder, "attack" or "duration", which stretch the
            sound's beginning or all of it.
        asked: in the attribute's unit.
        corrections: how often the strength is corrected by what was measured (secant method), at most; the result
            nearest to what was asked is kept. 0 takes the direction at its word.
    """
    rows = np.atleast_2d(np.asarray(latents, np.float32))
    if isinstance(attribute, str):
        quantity = quantity_of(attribute)
        if learned(attribute, autoencoder):
            raise InputError(f"{attribute} is learned from examples: learn it first")
        frames_per_unit = autoencoder.sample_rate / autoencoder.hop / (1000 if attribute == "attack" else 1)
        begin, end = _attack_frames(rows, autoencoder, seed) if attribute == "attack" else (0, len(rows) - 1)

        def stretched(strength: float) -> Latents:
            if attribute == "duration":
                return _stretch(rows, strength * frames_per_unit)
            return _stretch_between(rows, begin, end, strength * frames_per_unit)

        return _corrected(rows, attribute, quantity.unit, asked, stretched, autoencoder, corrections, seed)
    own = attribute
    return _corrected(rows, own.name, own.unit, asked, lambda s: own.move(rows, s), autoencoder, corrections, seed, own)


def _corrected(
    rows: Latents,
    name: str,
    unit: str,
    asked: float,
    moved: Callable[[float], Latents],
    autoencoder: Autoencoder,
    corrections: int,
    seed: int,
    own: Attribute | None = None,
) -> Applied:
    def heard(latents: Latents) -> float:
        if name not in QUANTITIES:
            assert own is not None, "what is not measured was learned from a player's examples"
            return float((latents @ own.gradient).mean())
        audio = decoded(autoencoder, latents, seed=seed)
        return QUANTITIES[name].of(measure(audio, autoencoder.sample_rate, pitch=name == "pitch"))

    if not math.isfinite(asked):
        raise InputError(f"{name} by {asked}: expected a finite number of {unit}")
    before = heard(rows)
    tried: list[tuple[float, float, Latents]] = [(0.0, 0.0, rows)]  # strength, change, sound
    strength = asked
    for _ in range(corrections + 1):
        sound = moved(strength)
        change = heard(sound) - before
        tried.append((strength, change, sound))
        (s0, c0, _), (s1, c1, _) = tried[-2:]
        if not math.isfinite(change) or abs(change - asked) <= 0.01 * abs(asked):
            break
        limit = 3 * abs(asked) + abs(s1)
        # What does not move at all may move further on.
        wanted = s1 + (asked - c1) * (s1 - s0) / (c1 - c0) if c1 != c0 else 2 * s1
        strength = float(np.clip(wanted, -limit, limit))
    best = min(tried[1:], key=lambda t: abs(t[1] - asked) if math.isfinite(t[1]) else math.inf)
    return Applied(best[2], unit, asked, best[1], before, before + best[1])


def _stretch(rows: Latents, frames: float) -> Latents:
    """The sound that many frames longer (shorter if negative), at least one."""
    count = max(1, round(len(rows) + frames))
    return sampled(rows, np.linspace(0, len(rows) - 1, count)).astype(np.float32)


def _stretch_between(rows: Latents, begin: int, end: int, frames: float) -> Latents:
    """The way from one frame to a later one that many frames longer, which need not be whole; before it all is as it
    was, after it all is later.
    """
    taken = max(end - begin + frames, 0.25)
    last = len(rows) - 1
    moments = np.arange(math.ceil(begin + taken + last - end) + 1)
    inner = begin + (moments - begin) * (end - begin) / taken
    before = np.where(
        moments <= begin, moments, np.where(moments <= begin + taken, inner, moments - taken + end - begin)
    )
    return sampled(rows, np.clip(before, 0, last)).astype(np.float32)


def _attack_frames(rows: Latents, autoencoder: Autoencoder, seed: int) -> tuple[int, int]:
    """The frames between which a sound's attack is, one apart at least; (0, 0) of a sound of one frame."""
    span = attack_span(decoded(autoencoder, rows, seed=seed).astype(np.float64), autoencoder.sample_rate)
    rate = autoencoder.sample_rate / autoencoder.hop
    begin = min(max(math.floor(span[0] * rate) - 1, 0), max(len(rows) - 2, 0))
    return begin, min(max(math.ceil(span[1] * rate), begin + 1), len(rows) - 1)


def _ridge(points: Vectors, values: Vectors) -> tuple[Vectors, float]:
    """Slope (K,) and offset of values (n,) over points (n, K)."""
    middle, mean = points.mean(axis=0), float(values.mean())
    centred = points - middle
    penalty = RIDGE * len(points) * np.eye(points.shape[1])
    slope = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (values - mean))
    return slope, mean - float(middle @ slope)


def _attribute(name: str, unit: str, slope: Vectors, space: LatentSpace, fit: float, count: int) -> Attribute:
    """From a slope per standard deviation along the principal directions."""
    size = float(slope @ slope)
    if size < 1e-18:
        raise InputError(f"{name} does not depend on the latents, as far as the examples show")
    direction = slope / size * space.deviations @ space.axes
    return Attribute(name, unit, direction, slope / space.deviations @ space.axes, fit, count)
