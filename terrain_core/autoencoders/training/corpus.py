"""The corpus: short phrases of nine families of sound, synthesised here from a seed, each with its true pitch.

Every clip is a function of (split, index) alone: the same on every machine, and never the same in two splits, because
the split is part of the random generator's seed. Clips are monophonic, so that one pitch describes each moment.
Physical models: the plucked string is the extended Karplus-Strong loop (Jaffe and Smith, CMJ 1983); bars, bells and
membranes are modal, with the frequency ratios of Fletcher and Rossing, "The Physics of Musical Instruments"
(2nd ed., chapters 2, 3, 18 to 21); voices are a harmonic source through five formants.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

SAMPLE_RATE = 44100
CLIP_SAMPLES = 3 * SAMPLE_RATE
NYQUIST_GUARD_HZ = 18000.0
"""No partial is synthesised above this: what lies there is inaudible to most and only costs the decoder."""

Signal = NDArray[np.float64]  # (samples,)


@dataclass(frozen=True)
class Note:
    """One note of a phrase; times in samples."""

    start: int
    end: int
    pitch_hz: float


@dataclass(frozen=True)
class Clip:
    """One synthesised sound.

    Attributes:
        family: a key of `FAMILIES`.
        audio: (samples,) float32 at 44.1 kHz, peak below 1.
        pitch_hz: (samples,) float32, the true fundamental; NaN where the sound has none or is silent.
    """

    family: str
    audio: NDArray[np.float32]
    pitch_hz: NDArray[np.float32]


def _hz(midi_note: float) -> float:
    return float(440.0 * 2.0 ** ((midi_note - 69.0) / 12.0))


def _phrase(rng: np.random.Generator, low: int, high: int, most_notes: int) -> list[Note]:
    """One to `most_notes` notes in a random walk over MIDI notes low..high, together filling most of the clip."""
    count = int(rng.integers(1, most_notes + 1))
    cuts = np.sort(rng.uniform(0.15, 0.95, count - 1)) if count > 1 else np.zeros(0)
    edges = np.concatenate([[rng.uniform(0.0, 0.08)], cuts, [rng.uniform(0.85, 1.0)]]) * CLIP_SAMPLES
    note = rng.uniform(low, high)
    notes = []
    for start, end in itertools.pairwise(edges):
        if end - start > 2000:
            notes.append(Note(int(start), int(end), _hz(float(np.clip(note, low, high)))))
        note += rng.integers(-9, 10) + rng.normal(0, 0.2)
    return notes


def _envelope(note: Note, attack_s: float, release_s: float) -> Signal:
    """Raised-cosine attack and release inside the note, one in between."""
    n = note.end - note.start
    attack = int(np.clip(attack_s * SAMPLE_RATE, 8, n // 2))
    release = int(np.clip(release_s * SAMPLE_RATE, 8, n // 2))
    env = np.ones(n)
    env[:attack] = 0.5 - 0.5 * np.cos(np.pi * np.arange(attack) / attack)
    env[n - release :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(release) / release)
    return env


def _drift(rng: np.random.Generator, n: int, rate_hz: float) -> Signal:
    """A smooth random curve of about unit variance that moves `rate_hz` times a second."""
    knots = max(4, int(n / SAMPLE_RATE * rate_hz) + 4)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.normal(0, 1, knots))


def _filtered_noise(rng: np.random.Generator, n: int, low_hz: float, high_hz: float) -> Signal:
    high_hz = min(high_hz, 0.45 * SAMPLE_RATE)
    sos = signal.butter(2, [max(low_hz, 20.0), max(high_hz, low_hz * 1.1)], "bandpass", fs=SAMPLE_RATE, output="sos")
    noise = signal.sosfilt(sos, rng.normal(0, 1, n + 2000))[2000:]
    return np.asarray(noise / (np.std(noise) + 1e-12))


def _harmonics(
    phase: Signal, pitch_hz: Signal, amplitude: Callable[[int, Signal], Signal | float], most: int
) -> Signal:
    """Sum of amplitude(k, k * f0) * sin(k * phase) over the partials that stay under the guard."""
    total = np.zeros_like(phase)
    for k in range(1, most + 1):
        partial_hz = k * pitch_hz
        if partial_hz.min() > NYQUIST_GUARD_HZ:
            break
        fade = np.clip((NYQUIST_GUARD_HZ - partial_hz) / 1000.0, 0.0, 1.0)
        total += fade * amplitude(k, partial_hz) * np.sin(k * phase)
    return total


def _resonances(rng: np.random.Generator, count: int, low_hz: float, high_hz: float) -> Callable[[Signal], Signal]:
    """A body: `count` broad resonances on a log-frequency axis, 0.3 to about 2 in amplitude."""
    centres = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), count))
    widths = rng.uniform(0.15, 0.5, count)
    heights = rng.uniform(0.3, 1.7, count)

    def body(hz: Signal) -> Signal:
        log_hz = np.log(np.maximum(hz, 1.0))
        peaks = [
            h * np.exp(-(((log_hz - np.log(c)) / w) ** 2)) for c, w, h in zip(centres, widths, heights, strict=True)
        ]
        return np.asarray(0.3 + np.sum(peaks, axis=0))

    return body


def _voice_pitch(rng: np.random.Generator, notes: list[Note], glide_s: float, vibrato_cents: float) -> Signal:
    """A sustained instrument's pitch curve: notes joined by glides, vibrato that fades in, slow drift."""
    steps = np.full(CLIP_SAMPLES, np.log2(notes[0].pitch_hz))
    vibrato_depth = np.zeros(CLIP_SAMPLES)
    for note in notes:
        steps[note.start :] = np.log2(note.pitch_hz)
        since = np.arange(note.end - note.start) / SAMPLE_RATE
        vibrato_depth[note.start : note.end] = np.clip((since - 0.15) / 0.4, 0, 1)
    kernel = np.hanning(max(3, int(glide_s * SAMPLE_RATE)))
    padded = np.pad(steps, len(kernel), mode="edge")
    smooth = signal.fftconvolve(padded, kernel / kernel.sum(), mode="same")[len(kernel) : -len(kernel)]
    rate = rng.uniform(4.5, 6.5)
    t = np.arange(CLIP_SAMPLES) / SAMPLE_RATE
    cents = vibrato_cents * vibrato_depth * np.sin(2 * np.pi * rate * t + rng.uniform(0, 6)) + 4 * _drift(
        rng, CLIP_SAMPLES, 3
    )
    return np.asarray(2.0 ** (smooth + cents / 1200.0))


def _phase_of(pitch_hz: Signal, start: float = 0.0) -> Signal:
    return np.asarray(start + 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE)


def _sounding(pitch_hz: Signal, level: Signal) -> Signal:
    """The pitch where the envelope is above -50 dB of its peak, NaN elsewhere."""
    return np.where(level > 0.003 * level.max(), pitch_hz, np.nan)


def _plucked(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Guitar, harp, clavichord and koto-like strings: Karplus-Strong with pluck position, hardness and damping."""
    out = np.zeros(CLIP_SAMPLES)
    pitch = np.full(CLIP_SAMPLES, np.nan)
    brightness, position = rng.uniform(0.05, 0.5), rng.uniform(0.08, 0.5)
    decay_s, hardness = np.exp(rng.uniform(np.log(0.3), np.log(4.0))), rng.uniform(0.1, 0.95)
    for note in _phrase(rng, 38, 84, 5):
        n = CLIP_SAMPLES - note.start
        period = SAMPLE_RATE / note.pitch_hz
        whole = int(period - brightness - 0.2)
        frac = period - brightness - whole
        gain = 10.0 ** (-3.0 * period / (SAMPLE_RATE * decay_s))
        loop = gain * np.convolve([1 - brightness, brightness], [1 - frac, frac])
        denominator = np.concatenate([[1.0], np.zeros(whole - 1), -loop])
        burst = signal.lfilter([hardness], [1, hardness - 1], rng.uniform(-1, 1, round(period)))
        excitation = np.zeros(n)
        take = min(n, len(burst))
        excitation[:take] = (burst - burst.mean())[:take]
        comb = max(1, round(position * period))
        excitation[comb:] -= 0.9 * excitation[:-comb]
        tone = signal.lfilter([1.0], denominator, excitation)
        length = min(n, note.end - note.start + int(0.02 * SAMPLE_RATE))
        damper = np.ones(length)
        fade = min(length, int(0.02 * SAMPLE_RATE))
        damper[-fade:] = np.linspace(1, 0, fade)
        out[note.start : note.start + length] += rng.uniform(0.4, 1.0) * tone[:length] * damper
        heard = gain ** (np.arange(length) / period) > 0.01
        pitch[note.start : note.start + length] = np.where(heard, note.pitch_hz, np.nan)
    return out, pitch


def _sustained(
    rng: np.random.Generator,
    notes: list[Note],
    *,
    attack_s: float,
    release_s: float,
    glide_s: float,
    vibrato_cents: float,
    swell: float,
) -> tuple[Signal, Signal]:
    """Pitch curve and level curve of bowed, blown and sung phrases."""
    pitch = _voice_pitch(rng, notes, glide_s, vibrato_cents)
    level = np.zeros(CLIP_SAMPLES)
    for note in notes:
        n = note.end - note.start
        shape = np.exp(swell * _drift(rng, n, 2.0))
        level[note.start : note.end] = rng.uniform(0.4, 1.0) * _envelope(note, attack_s, release_s) * shape
    return pitch, level


def _bowed(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Violin to cello: Helmholtz motion (1/k) through a body, bow noise, vibrato, portamento."""
    low = int(rng.choice([36, 48, 55]))
    notes = _phrase(rng, low, low + 32, 4)
    pitch, level = _sustained(
        rng,
        notes,
        attack_s=rng.uniform(0.03, 0.2),
        release_s=rng.uniform(0.03, 0.2),
        glide_s=rng.uniform(0.01, 0.12),
        vibrato_cents=rng.uniform(0, 30),
        swell=0.3,
    )
    body, tilt = _resonances(rng, 8, 200, 6000), rng.uniform(0.9, 1.5)
    bright = np.clip(level / (level.max() + 1e-9), 0.05, 1.0)
    tone = _harmonics(_phase_of(pitch), pitch, lambda k, hz: body(hz) * k ** -(tilt + 0.5 * (1 - bright)), 60)
    noise = _filtered_noise(rng, CLIP_SAMPLES, 400, 7000) * rng.uniform(0.005, 0.04)
    return level * (tone + noise), _sounding(pitch, level)


def _wind(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Flutes (few harmonics, breath), clarinets (odd harmonics) and brass (brighter as it gets louder)."""
    kind = rng.choice(["flute", "clarinet", "brass"])
    low, high = {"flute": (60, 90), "clarinet": (50, 82), "brass": (40, 74)}[str(kind)]
    pitch, level = _sustained(
        rng,
        _phrase(rng, low, high, 5),
        attack_s=rng.uniform(0.02, 0.1),
        release_s=rng.uniform(0.03, 0.15),
        glide_s=rng.uniform(0.005, 0.06),
        vibrato_cents=rng.uniform(0, 25),
        swell=0.25,
    )
    loud = np.clip(level / (level.max() + 1e-9), 0.02, 1.0)
    tilt, even = rng.uniform(1.5, 2.6), rng.uniform(0.02, 0.15)
    body = _resonances(rng, 4, 400, 4000)
    amplitudes: dict[str, Callable[[int, Signal], Signal | float]] = {
        "flute": lambda k, hz: float(k) ** -(tilt + 0.8),
        "clarinet": lambda k, hz: body(hz) * (1.0 if k % 2 else even) * float(k) ** -(tilt - 0.5),
        "brass": lambda k, hz: body(hz) * np.exp(-(k - 1) * (0.08 + 0.5 * (1 - loud))),
    }
    tone = _harmonics(_phase_of(pitch), pitch, amplitudes[str(kind)], 40)
    centre = rng.uniform(800, 4000)
    breath = _filtered_noise(rng, CLIP_SAMPLES, centre / 2, centre * 2.5)
    amount = rng.uniform(0.02, 0.15) if kind == "flute" else rng.uniform(0.002, 0.03)
    return level * (tone + amount * breath), _sounding(pitch, level)


VOWELS_HZ = {
    "a": (730, 1090, 2440, 3400, 4500),
    "e": (530, 1840, 2480, 3500, 4500),
    "i": (270, 2290, 3010, 3600, 4600),
    "o": (570, 840, 2410, 3300, 4500),
    "u": (300, 870, 2240, 3200, 4400),
}
"""Formants of a man's vowels, Peterson and Barney (JASA 1952); the 4th and 5th are typical singers' values."""


def _voice(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Sung vowels that move from one to another, with jitter, breath and vibrato."""
    low = int(rng.choice([41, 48, 57]))
    pitch, level = _sustained(
        rng,
        _phrase(rng, low, low + 22, 4),
        attack_s=rng.uniform(0.03, 0.12),
        release_s=rng.uniform(0.05, 0.2),
        glide_s=rng.uniform(0.03, 0.15),
        vibrato_cents=rng.uniform(5, 60),
        swell=0.25,
    )
    stretch = rng.uniform(0.95, 1.25)
    path = np.array([VOWELS_HZ[str(v)] for v in rng.choice(list(VOWELS_HZ), 3)]) * stretch
    place = np.interp(np.arange(CLIP_SAMPLES), np.sort(rng.uniform(0, CLIP_SAMPLES, 3)), [0, 1, 2])
    formants = [np.interp(place, [0, 1, 2], path[:, i]) for i in range(5)]
    widths, gains = (90, 110, 160, 220, 300), (1.0, 0.7, 0.4, 0.25, 0.15)
    tilt = rng.uniform(0.7, 1.4)

    def amplitude(k: int, hz: Signal) -> Signal:
        peaks = sum(
            g / np.sqrt(1 + ((hz - f) / (0.7 * w)) ** 2) for f, w, g in zip(formants, widths, gains, strict=True)
        )
        return np.asarray((0.01 + peaks) * k**-tilt)

    tone = _harmonics(_phase_of(pitch), pitch, amplitude, 60)
    breath = _filtered_noise(rng, CLIP_SAMPLES, 1500, 9000) * rng.uniform(0.002, 0.04)
    return level * (tone + breath), _sounding(pitch, level)


BAR_RATIOS: dict[str, tuple[float, ...]] = {
    "free bar": (1.0, 2.756, 5.404, 8.933, 13.344, 18.64),
    "marimba": (1.0, 3.932, 9.538, 16.688, 24.566),
    "xylophone": (1.0, 3.0, 6.16, 10.29, 15.0),
    "vibraphone": (1.0, 4.0, 10.3, 17.0),
    "bell": (0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 2.662, 3.011, 4.166, 5.433),
    "tube": (1.0, 1.494, 2.0, 2.503, 3.0, 3.47, 4.13),
}
"""Mode frequencies over the mode that carries the pitch."""

MEMBRANE_RATIOS = (1.0, 1.593, 2.135, 2.295, 2.653, 2.917, 3.155, 3.500, 3.598, 4.059)
"""Ideal circular membrane: zeros of the Bessel functions over the first."""


def _struck(
    rng: np.random.Generator, n: int, hz: Signal | float, ratios: tuple[float, ...], decay_s: float, hardness: float
) -> Signal:
    """Modes that start together and decay the faster the higher they are."""
    t = np.arange(n) / SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, (n,))) / SAMPLE_RATE
    total = np.zeros(n)
    for ratio in ratios:
        top = ratio * float(np.max(hz))
        if top > NYQUIST_GUARD_HZ:
            continue
        weight = rng.uniform(0.3, 1.0) * np.exp(-np.log(max(ratio, 1.0)) * (2.2 - 2.0 * hardness))
        total += weight * np.exp(-t * 6.9 / (decay_s * ratio**-0.7)) * np.sin(ratio * phase + rng.uniform(0, 6.28))
    attack = np.clip(t / rng.uniform(0.0005, 0.003), 0, 1)
    return np.asarray(total * attack)


def _bar(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Marimba, xylophone, vibraphone, glockenspiel, bells and tubes."""
    kind = str(rng.choice(list(BAR_RATIOS)))
    ratios = tuple(r * (1 + rng.normal(0, 0.002)) if r != 1.0 else 1.0 for r in BAR_RATIOS[kind])
    decay_s, hardness = np.exp(rng.uniform(np.log(0.3), np.log(5.0))), rng.uniform(0.1, 0.9)
    out = np.zeros(CLIP_SAMPLES)
    pitch = np.full(CLIP_SAMPLES, np.nan)
    for note in _phrase(rng, 52, 92, 5):
        n = CLIP_SAMPLES - note.start
        tone = _struck(rng, n, note.pitch_hz, ratios, decay_s, hardness)
        click_n = min(n, 600)
        tone[:click_n] += 0.3 * hardness * rng.normal(0, 1, click_n) * np.exp(-np.arange(click_n) / 60)
        length = min(n, note.end - note.start + 900)
        tone[length - 800 : length] *= np.linspace(1, 0, 800)
        out[note.start : note.start + length] += rng.uniform(0.4, 1.0) * tone[:length]
        heard = np.exp(-np.arange(length) / SAMPLE_RATE * 6.9 / decay_s) > 0.01
        pitch[note.start : note.start + length] = np.where(heard, note.pitch_hz, np.nan)
    return out, pitch


def _drum(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Kicks, toms, snares, hats and claps in a short pattern."""
    out = np.zeros(CLIP_SAMPLES)
    kind = str(rng.choice(["kick", "tom", "snare", "hat", "clap"]))
    hz = {"kick": rng.uniform(40, 70), "tom": rng.uniform(70, 220), "snare": rng.uniform(150, 260)}.get(kind, 300.0)
    decay_s, drop = np.exp(rng.uniform(np.log(0.08), np.log(0.9))), rng.uniform(0.2, 3.0)
    noise_hz, hardness = rng.uniform(1500, 7000), rng.uniform(0.1, 0.8)
    for start in np.cumsum(rng.uniform(0.15, 0.9, 12) * SAMPLE_RATE).astype(int) - int(0.12 * SAMPLE_RATE):
        n = CLIP_SAMPLES - int(start)
        if n < 4000:
            break
        t = np.arange(n) / SAMPLE_RATE
        bent = hz * (1 + drop * np.exp(-t / 0.03))
        hit = np.zeros(n)
        if kind in ("kick", "tom", "snare"):
            hit += _struck(rng, n, bent, MEMBRANE_RATIOS, decay_s, 0.2 if kind == "kick" else hardness)
        if kind == "snare":
            hit += 0.5 * _filtered_noise(rng, n, noise_hz / 3, noise_hz * 3) * np.exp(-t / (0.25 * decay_s))
        if kind == "hat":
            hit += 0.3 * _filtered_noise(rng, n, noise_hz, 17000) * np.exp(-t / (0.2 * decay_s))
        if kind == "clap":
            bursts = sum(np.exp(-np.clip(t - d, 0, None) / 0.004) * (t >= d) for d in (0, 0.011, 0.021))
            tail = np.exp(-t / (0.2 * decay_s)) * (t > 0.03)
            hit += 0.3 * _filtered_noise(rng, n, 700, noise_hz * 1.5) * (bursts + tail)
        out[start:] += rng.uniform(0.3, 1.0) * hit
    return out, np.full(CLIP_SAMPLES, np.nan)


def _pad(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Detuned saws or squares in unison, through a filter that moves slowly."""
    pitch, level = _sustained(
        rng,
        _phrase(rng, 36, 76, 2),
        attack_s=rng.uniform(0.1, 0.7),
        release_s=rng.uniform(0.2, 0.7),
        glide_s=rng.uniform(0.01, 0.3),
        vibrato_cents=0.0,
        swell=0.1,
    )
    cutoff = np.exp(rng.uniform(np.log(400), np.log(6000)) + 0.5 * _drift(rng, CLIP_SAMPLES, 0.7))
    square, order = rng.random() < 0.3, rng.uniform(1.0, 3.0)

    def amplitude(k: int, hz: Signal) -> Signal:
        source = 0.0 if square and k % 2 == 0 else 1.0 / k
        return np.asarray(source / np.sqrt(1 + (hz / cutoff) ** (2 * order)))

    total = np.zeros(CLIP_SAMPLES)
    for cents in np.linspace(-1, 1, int(rng.integers(2, 5))) * rng.uniform(2, 10):
        detuned = pitch * 2 ** (cents / 1200)
        total += _harmonics(_phase_of(detuned, rng.uniform(0, 6.28)), detuned, amplitude, 40)
    return level * total, _sounding(pitch, level)


def _noise(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Wind, sea, rain, radio hiss and crackle: noise whose colour and level wander."""
    window, hop = 1024, 256
    kind = str(rng.choice(["wind", "sea", "rain", "hiss"]))
    if kind == "rain":
        source = rng.normal(0, 1, CLIP_SAMPLES) * (rng.random(CLIP_SAMPLES) < np.exp(rng.uniform(-6, -2)))
        source = signal.lfilter([1], [1, -rng.uniform(0.3, 0.9)], source)
    else:
        source = rng.normal(0, 1, CLIP_SAMPLES)
    _, _, spectrum = signal.stft(source, nperseg=window, noverlap=window - hop)
    frames = spectrum.shape[1]
    hz = np.linspace(1, SAMPLE_RATE / 2, window // 2 + 1)[:, None]
    speed = {"wind": 1.5, "sea": 0.5, "rain": 0.3, "hiss": 0.2}[kind]
    centre = np.exp(rng.uniform(np.log(300), np.log(6000)) + 0.5 * _drift(rng, frames * hop, speed)[::hop])
    octaves = np.log2(hz / centre[None])
    width, floor = rng.uniform(0.4, 3.0), rng.uniform(0.001, 0.1)
    tilt = (hz / 1000.0) ** -rng.uniform(0.0, 0.8)
    colour = (floor + np.exp(-((octaves / width) ** 2))) * tilt
    _, shaped = signal.istft(spectrum * colour, nperseg=window, noverlap=window - hop)
    swell = np.exp({"wind": 0.5, "sea": 0.9, "rain": 0.2, "hiss": 0.1}[kind] * _drift(rng, CLIP_SAMPLES, speed * 2))
    edge = _envelope(Note(0, CLIP_SAMPLES, 1.0), rng.uniform(0.01, 0.5), rng.uniform(0.01, 0.5))
    return np.asarray(shaped[:CLIP_SAMPLES] * swell * edge), np.full(CLIP_SAMPLES, np.nan)


def _click(rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Ticks, woodblocks without pitch, switches and geiger trains: a few milliseconds each."""
    out = np.zeros(CLIP_SAMPLES)
    rate = np.exp(rng.uniform(np.log(1.5), np.log(14)))
    regular = rng.random() < 0.5
    n = 2205
    t = np.arange(n) / SAMPLE_RATE
    shape = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        hz, decay_s = np.exp(rng.uniform(np.log(500), np.log(9000))), np.exp(rng.uniform(np.log(0.0004), np.log(0.006)))
        shape += rng.uniform(0.2, 1) * np.exp(-t / decay_s) * np.sin(2 * np.pi * hz * t)
    shape += rng.uniform(0, 0.5) * rng.normal(0, 1, n) * np.exp(-t / np.exp(rng.uniform(np.log(0.0003), np.log(0.004))))
    position = rng.uniform(0, 0.2)
    while position < 2.94:
        start = int(position * SAMPLE_RATE)
        out[start : start + n] += rng.uniform(0.2, 1.0) * shape[: CLIP_SAMPLES - start]
        position += 1 / rate if regular else rng.exponential(1 / rate) + 0.02
    return out, np.full(CLIP_SAMPLES, np.nan)


FAMILIES: dict[str, Callable[[np.random.Generator], tuple[Signal, Signal]]] = {
    "plucked": _plucked,
    "bowed": _bowed,
    "winds": _wind,
    "voices": _voice,
    "bars": _bar,
    "drums": _drum,
    "pads": _pad,
    "noises": _noise,
    "clicks": _click,
}
PITCHED = ("plucked", "bowed", "winds", "voices", "bars", "pads")
SPLITS = {"train": 1, "validation": 2, "test": 3, "demo": 4}


def make_clip(split: str, index: int) -> Clip:
    """Clip `index` of a split; families take turns.

    Args:
        split: a key of `SPLITS`; the seed contains it, so that no clip of one split is in another.
        index: 0 upwards, as many as wanted.
    """
    family = list(FAMILIES)[index % len(FAMILIES)]
    rng = np.random.default_rng([20261120, SPLITS[split], index])
    audio, pitch = FAMILIES[family](rng)
    peak = 10 ** (rng.uniform(-18.0, -1.0) / 20.0)
    audio = audio * (peak / (np.max(np.abs(audio)) + 1e-9))
    return Clip(family, audio.astype(np.float32), pitch.astype(np.float32))
