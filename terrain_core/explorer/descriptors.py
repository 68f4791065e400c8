"""What is measured of a sound: brightness, noisiness, loudness, pitch, attack, duration."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from terrain_core.audio_files import resample
from terrain_core.autoencoders import features
from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.errors import InputError

Signal = NDArray[np.float64]

WINDOW, HOP = 2048, 512
ENVELOPE_SECONDS = 0.005
ATTACK_SECONDS = 0.001
"""Steps in which an attack is measured: those of hits take a few of them."""

SMOOTHED_SECONDS = 0.003
HELD_SECONDS = 0.03
"""The attack's envelope bridges gaps of this length: between the pulses of a voice, or the half-waves of a kick."""

SILENCE_LUFS = -70.0
"""BS.1770's absolute gate: what is not louder has no loudness, and is said to have this one."""

SOUNDING_DB = -40.0
"""Below its loudest by more than this, a sound has not begun, or is over."""

VOICED = 0.5
LOWEST_POWER = 1e-12


@dataclass(frozen=True)
class Descriptors:
    """A sound, measured.

    Attributes:
        brightness_hz: spectral centroid: the mean frequency, weighted by power.
        noisiness_db: spectral flatness: geometric over arithmetic mean of the power spectrum, weighted by the frames'
            power; 0 dB would be all frequencies alike, white noise has -2.5.
        loudness_lufs: integrated, after ITU-R BS.1770-4; `SILENCE_LUFS` for silence.
        pitch_hz: median of what the pitch tracker of the built-in autoencoder hears in voiced frames; NaN without any.
        attack_s: from a tenth of the envelope's peak to nine tenths, before the peak; see `attack_span`.
        duration_s: between the first and the last moment within 40 dB of the peak.
    """

    brightness_hz: float
    noisiness_db: float
    loudness_lufs: float
    pitch_hz: float
    attack_s: float
    duration_s: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def decoded(autoencoder: Autoencoder, latents: Latents, *, seed: int = 0) -> Audio:
    """The sound of latents (frames, D) from a clean state, the decoder's delay taken off: (channels, frames * hop)."""
    rows = np.asarray(latents, np.float32)
    stream = autoencoder.stream(seed=seed, threads=0)
    extra = -(-stream.delay // autoencoder.hop)
    audio = stream.decode(np.concatenate([rows, np.repeat(rows[-1:], extra, axis=0)]))
    return audio[:, stream.delay : stream.delay + len(rows) * autoencoder.hop]


def measure(audio: Audio, sample_rate: float, *, pitch: bool = True) -> Descriptors:
    """Measure a sound, (channels, samples).

    Args:
        pitch: False leaves it out (NaN), which saves most of the time.
    Raises:
        InputError: no samples, or some that are not finite.
    """
    sound = np.asarray(audio, np.float64)
    if sound.ndim != 2 or not sound.size or not np.isfinite(sound).all():
        raise InputError(f"audio of shape {sound.shape}: expected (channels, samples), finite, at least one sample")
    spectra = power_spectra(sound.mean(axis=0))
    hz = np.arange(spectra.shape[1]) * sample_rate / WINDOW
    total = spectra.sum(axis=1)
    power = float(total.sum())
    centroid = float((spectra @ hz).sum() / power) if power > LOWEST_POWER else 0.0
    begin, end = attack_span(sound, sample_rate)
    return Descriptors(
        brightness_hz=centroid,
        noisiness_db=_flatness_db(spectra, total),
        loudness_lufs=loudness(sound, sample_rate),
        pitch_hz=_pitch(sound, sample_rate) if pitch else math.nan,
        attack_s=end - begin,
        duration_s=_duration(sound, sample_rate),
    )


def power_spectra(samples: Signal) -> Signal:
    """Power spectra (frames, bins) of Hann windows over a sound (n,), which is padded to a whole window at least."""
    count = max(1, -(-max(len(samples) - WINDOW, 0) // HOP) + 1)
    padded = np.pad(samples, (0, (count - 1) * HOP + WINDOW - len(samples)))
    segments = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return np.asarray(np.abs(np.fft.rfft(segments * np.hanning(WINDOW + 1)[:-1], axis=1)) ** 2)


def _flatness_db(spectra: Signal, total: Signal) -> float:
    inner = spectra[:, 1:-1] + LOWEST_POWER
    flatness = np.exp(np.log(inner).mean(axis=1)) / inner.mean(axis=1)
    weight = total + LOWEST_POWER
    return float(10 * np.log10((flatness * weight).sum() / weight.sum()))


def loudness(sound: Signal, sample_rate: float) -> float:
    """Integrated loudness of (channels, samples) in LUFS, after ITU-R BS.1770-4: K-weighting, blocks of 400 ms every
    100 ms, gates at -70 LUFS and 10 LU below what is left. A shorter sound is one block; up to two channels, of
    weight 1.
    """
    from scipy.signal import sosfilt

    weighted = sosfilt(_k_weighting(float(sample_rate)), sound, axis=1)
    block = min(round(0.4 * sample_rate), weighted.shape[1])
    step = max(1, round(0.1 * sample_rate))
    starts = np.arange(0, weighted.shape[1] - block + 1, step)
    sums = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=0))])
    power = np.maximum((sums[starts + block] - sums[starts]) / block, 0.0)
    gate = 10 ** ((SILENCE_LUFS + 0.691) / 10)
    if not (power > gate).any():
        return SILENCE_LUFS
    relative = power[power > gate].mean() / 10
    return float(-0.691 + 10 * np.log10(power[(power > gate) & (power > relative)].mean()))


@lru_cache(maxsize=8)
def _k_weighting(sample_rate: float) -> Signal:
    """Second-order sections: BS.1770's shelf and high-pass, whose coefficients the standard gives for 48 kHz, as the
    analogue filters behind them (centre, gain and Q that give those coefficients back), for any rate.
    """

    def section(hz: float, q: float, gain_db: float | None) -> list[float]:
        k = math.tan(math.pi * hz / sample_rate)
        a0 = 1 + k / q + k * k
        poles = [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
        if gain_db is None:
            return [1.0, -2.0, 1.0, *poles]
        high = 10 ** (gain_db / 20)
        band = high**0.4996667741545416
        return [
            (high + band * k / q + k * k) / a0,
            2 * (k * k - high) / a0,
            (high - band * k / q + k * k) / a0,
            *poles,
        ]

    shelf = section(1681.974450955533, 0.7071752369554196, 3.999843853973347)
    return np.array([shelf, section(38.13547087602444, 0.5003270373238773, None)])


def _pitch(sound: Signal, sample_rate: float) -> float:
    mono = resample(sound.mean(axis=0, keepdims=True).astype(np.float32), round(sample_rate), features.SAMPLE_RATE)[0]
    found = features.extract(mono)
    voiced = found[:, features.VOICING_COLUMN] > VOICED
    if not voiced.any():
        return math.nan
    return float(features.MIDDLE_C_HZ * 2.0 ** np.median(found[voiced, features.PITCH_COLUMN]))


def attack_span(sound: Signal, sample_rate: float) -> tuple[float, float]:
    """When the attack of (channels, samples) begins and ends, in seconds: from a tenth of the envelope's peak to nine
    tenths, before the peak; (0, 0) of silence.

    The envelope is the magnitude of the analytic signal, so that it does not follow a low tone's half-waves, and each
    moment has the highest of the last few hundredths of a second: a rise stays where it is, and gaps are bridged.
    """
    envelope, step = _attack_envelope(sound, sample_rate)
    peak = int(envelope.argmax())
    if envelope[peak] ** 2 < LOWEST_POWER:
        return 0.0, 0.0
    rise = envelope[: peak + 1] / envelope[peak]
    begin = int(np.flatnonzero(rise < 0.1)[-1]) + 1 if (rise < 0.1).any() else 0
    return begin * step, (begin + int(np.argmax(rise[begin:] >= 0.9))) * step


def _attack_envelope(sound: Signal, sample_rate: float) -> tuple[Signal, float]:
    """See `attack_span`; and a step's length in seconds."""
    from scipy.fft import next_fast_len
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import hilbert

    count = sound.shape[1]
    smoothing = np.hanning(2 * round(SMOOTHED_SECONDS * sample_rate / 2) + 3)[1:-1]
    analytic = hilbert(sound, next_fast_len(count + round(HELD_SECONDS * sample_rate)), axis=1)[:, :count]
    power = np.convolve((np.abs(analytic) ** 2).mean(axis=0), smoothing / smoothing.sum(), "same")[:count]
    size = max(1, round(ATTACK_SECONDS * sample_rate))
    steps = np.sqrt(np.pad(power, (0, -count % size)).reshape(-1, size).max(axis=1))
    held = max(1, round(HELD_SECONDS * sample_rate / size))
    before = np.pad(steps, (held - 1, 0))
    highest = maximum_filter1d(before, held, origin=(held - 1) // 2)[held - 1 :]
    return np.asarray(highest), size / sample_rate


def _duration(sound: Signal, sample_rate: float) -> float:
    envelope, step = _envelope(sound, sample_rate)
    if envelope.max() ** 2 < LOWEST_POWER:
        return 0.0
    sounding = np.flatnonzero(envelope >= envelope.max() * 10 ** (SOUNDING_DB / 20))
    return float(sounding[-1] - sounding[0] + 1) * step


def _envelope(sound: Signal, sample_rate: float) -> tuple[Signal, float]:
    """Root mean squares of pieces, and a piece's length in seconds."""
    size = max(1, round(ENVELOPE_SECONDS * sample_rate))
    squares = np.pad((sound**2).mean(axis=0), (0, -sound.shape[1] % size)).reshape(-1, size)
    return np.sqrt(squares.mean(axis=1)), size / sample_rate
