"""The autoencoder that plays: two ONNX graphs with their state as inputs and outputs, and the features before them.

One session serves any number of streams, because a stream's state is a value that goes in and comes out.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders import noise
from terrain_core.autoencoders.features import FEATURES, HOP, LOOKAHEAD, FeatureStream
from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.autoencoders.runtime import ort
from terrain_core.errors import FileError, InputError

FORMAT_VERSION = 1
CARD = "autoencoder.json"
DECODER, ENCODER = "decoder.onnx", "encoder.onnx"
HARMONIC, AUDIO = "harmonic-442", "audio"
"""What an encoder may want to hear: the built-in's features, or the audio itself, hop by hop."""

NOISE_FRAMES = 64
"""Frames whose noise is drawn at once: setting up the generator costs as much as ten frames' noise."""

STREAM, ONE_SHOT = "stream", "one-shot"
"""What a card can say of its autoencoder's kind."""

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Card:
    """What `autoencoder.json` says.

    Attributes:
        noise_per_frame: shape of the noise input after the frame axis; empty if the decoder draws none.
        delay: samples by which the decoder's audio lags behind the frame it depends on.
        normals_per_frame: how many of the noise input's values, the first ones, are normally distributed; the others
            are uniform in 0..1. Above 0 only where `noise_per_frame` has one axis.
        features: name of the feature extractor the encoder wants ("harmonic-442"), or "audio" if it takes the audio
            itself, (channels, frames * hop); "" if there is no encoder.
        encoder_delay: samples of audio beyond a frame's end that an encoder of "audio" must have heard before it gives
            the frame; whole hops.
        frames_per_call: how many frames the decoder takes at once at the most. Matrix products of other sizes round
            otherwise, so that only 1 gives the same bits for every way of cutting a stream; a decoder whose weights are
            many times larger than the cache gains from more.
        frames_per_batch: the same where nobody waits for the next frame (`stream(threads=0)`): a product of 16 rows
            costs little more than one of one row, and differs by rounding, as was measured when the bundle was made.
            0: `frames_per_call`.
        seam_error: how far the streamed sound may be from what the original makes of the whole at once, of its loudest
            sample, as it was measured when the bundle was made; 0 where they are the same.
        licence: of the weights, as stated beside them; empty if nothing was.
        kind: "stream" (frames follow each other, state in between) or "one-shot" (a frame is a whole sound).
    """

    name: str
    sample_rate: int
    channels: int
    latent_size: int
    hop: int
    delay: int
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    noise_per_frame: tuple[int, ...] = ()
    normals_per_frame: int = 0
    features: str = ""
    encoder_delay: int = 0
    frames_per_call: int = 64
    frames_per_batch: int = 0
    seam_error: float = 0.0
    licence: str = ""
    kind: str = STREAM
    version: int = FORMAT_VERSION
    notes: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As a bundle holds it; `parse` reads it."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @staticmethod
    def parse(text: bytes, path: str) -> Card:
        try:
            raw = json.loads(text)
            names = Card.__dataclass_fields__
            known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items() if k in names}
            card = Card(**known)
        except (ValueError, TypeError, AttributeError) as error:
            raise FileError(path, f"is not an autoencoder's card ({error})", position=CARD) from None
        if card.version > FORMAT_VERSION:
            raise FileError(
                path,
                f"has version {card.version}, newer than {FORMAT_VERSION}",
                position=CARD,
                hint="update Latent Terrain",
            )
        batch = card.frames_per_batch or card.frames_per_call
        sizes = (card.sample_rate, card.channels, card.latent_size, card.hop, card.frames_per_call, batch)
        if not all(isinstance(n, int) and 0 < n < 2**20 for n in sizes) or not 0 <= card.delay < 2**20:
            raise FileError(path, f"states impossible sizes {sizes}", position=CARD)
        count = math.prod(card.noise_per_frame) if card.noise_per_frame else 0
        if not 0 <= count < 2**24 or not 0 <= card.normals_per_frame <= count or card.encoder_delay % card.hop:
            raise FileError(path, "states impossible numbers of draws or an impossible encoder_delay", position=CARD)
        if not isinstance(card.licence, str) or not isinstance(card.seam_error, (int, float)):
            raise FileError(path, "states a licence or a seam_error of another type", position=CARD)
        if card.kind not in (STREAM, ONE_SHOT):
            raise FileError(
                path,
                f"is an autoencoder of the kind {card.kind!r}: expected {STREAM} or {ONE_SHOT}",
                position=CARD,
                hint="update Latent Terrain",
            )
        statistics = np.array([card.latent_mean, card.latent_std], dtype=np.float64)
        if statistics.shape != (2, card.latent_size) or not np.isfinite(statistics).all():
            raise FileError(
                path, f"latent_mean and latent_std are not {card.latent_size} finite numbers", position=CARD
            )
        return card


class OnnxAutoencoder:
    """See `protocol.Autoencoder`. Made by `load`, from a bundle: a card and one or two graphs, as a folder, a zip
    or one ONNX file.
    """

    def __init__(self, files: dict[str, bytes], path: str = "<memory>") -> None:
        """
        Args:
            files: the bundle's members: `autoencoder.json`, `decoder.onnx` and, if it can encode, `encoder.onnx`.
            path: what errors call it.
        Raises:
            FileError: a member is missing or is not what it should be.
        """
        for member in (CARD, DECODER):
            if member not in files:
                raise FileError(path, f"has no {member}", hint="expected an autoencoder bundle")
        self.path = path
        self.files = files
        """The bundle's members: name -> bytes."""
        self.card = Card.parse(files[CARD], path)
        self.name = self.card.name
        self.sample_rate = self.card.sample_rate
        self.channels = self.card.channels
        self.latent_size = self.card.latent_size
        self.hop = self.card.hop
        self.latent_mean = np.array(self.card.latent_mean, np.float32)
        self.latent_std = np.array(self.card.latent_std, np.float32)
        self._sessions: dict[tuple[str, int], ort.InferenceSession] = {}

    @cached_property
    def sha256(self) -> str:
        """Identity of the bundle: over its members' names and bytes in alphabetical order."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(name.encode() + b"\0" + hashlib.sha256(self.files[name]).digest())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """The bundle as one zip file, the same bytes every time; `load_bytes` reads it."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(self.files):
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), self.files[name])
        return buffer.getvalue()

    def encode(self, audio: Audio) -> Latents:
        audio = self._checked_audio(audio)
        frames = -(-audio.shape[1] // self.hop)
        stream = self.stream_encoder()
        tail = np.zeros((self.channels, frames * self.hop - audio.shape[1] + stream.delay), np.float32)
        parts = [stream.encode(piece) for piece in _pieces(np.concatenate([audio, tail], axis=1), 256 * self.hop)]
        return np.concatenate([np.zeros((0, self.latent_size), np.float32), *parts])[:frames]

    def decode(self, latents: Latents, *, seed: int = 0) -> Audio:
        return self.stream(seed=seed, threads=0).decode(latents)

    def stream(self, *, seed: int = 0, threads: int = 1) -> OnnxDecoderStream:
        frames = (self.card.frames_per_batch if threads == 0 else 0) or self.card.frames_per_call
        return OnnxDecoderStream(self, self.session(DECODER, threads), seed, frames)

    def stream_encoder(self, *, threads: int = 1) -> OnnxEncoderStream | OnnxAudioEncoderStream:
        """A fresh encoder for live audio; its `delay` says how much later than the audio its frames come.

        Raises:
            InputError: the bundle has no encoder, or one that this version cannot feed.
        """
        if ENCODER not in self.files:
            raise InputError(f"autoencoder {self.name!r} cannot encode: its bundle has no {ENCODER}")
        if self.card.features not in (HARMONIC, AUDIO):
            raise InputError(
                f"the encoder of {self.name!r} wants {self.card.features!r}: expected {HARMONIC} or {AUDIO}"
            )
        kind = OnnxAudioEncoderStream if self.card.features == AUDIO else OnnxEncoderStream
        return kind(self, self.session(ENCODER, threads))

    def session(self, member: str, threads: int) -> ort.InferenceSession:
        """The graph's session with that many threads (0: all cores); made once, shared by all streams."""
        key = (member, threads)
        if key not in self._sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 4
            # Spinning workers would take the cores of the host's audio thread between blocks.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
            try:
                session = ort.InferenceSession(self.files[member], options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises a class of its own per status code, all plain Exceptions
                raise FileError(
                    self.path, f"is not a graph that can be run ({first_line(error)})", position=member
                ) from None
            self._sessions[key] = session
        return self._sessions[key]

    def _checked_audio(self, audio: Audio) -> Audio:
        audio = np.asarray(audio, np.float32)
        if audio.ndim != 2 or audio.shape[0] != self.channels:
            raise InputError(f"expected audio of shape ({self.channels}, samples), got {audio.shape}")
        if not np.isfinite(audio).all():
            at = int(np.argmin(np.isfinite(audio).all(axis=0)))
            raise InputError(f"audio is not finite at sample {at} ({at / self.sample_rate:.3f} s)")
        return audio


class OnnxDecoderStream:
    """See `protocol.DecoderStream`."""

    def __init__(
        self, autoencoder: OnnxAutoencoder, session: ort.InferenceSession, seed: int, frames_per_call: int
    ) -> None:
        self.delay = autoencoder.card.delay
        self.frames_per_call = frames_per_call
        """How many frames go into the graph at once at the most."""
        self._autoencoder = autoencoder
        self._session = session
        self._seed = seed
        self._clean = _zero_state(session, given=("latents", "noise"))
        self._outputs = [output.name for output in session.get_outputs()]
        self._drawn = np.zeros((0, *autoencoder.card.noise_per_frame), np.float32)
        self._drawn_from = 0
        self.reset()

    def reset(self, frame_index: int = 0) -> None:
        self._frame = frame_index
        self._state = self._clean

    @property
    def state(self) -> tuple[int, State]:
        """The whole state, as a value: assign it to another stream of the same autoencoder to branch."""
        return self._frame, dict(self._state)

    @state.setter
    def state(self, value: tuple[int, State]) -> None:
        self._frame, self._state = value[0], dict(value[1])

    def draw_from(self, values: NDArray[np.float32]) -> None:
        """Take the noise of the next frames from (frames, *noise_per_frame) instead of drawing it: for comparisons."""
        self._drawn, self._drawn_from = values, self._frame

    def decode(self, latents: Latents) -> Audio:
        card = self._autoencoder.card
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != card.latent_size:
            raise InputError(f"expected latents of shape (frames, {card.latent_size}), got {latents.shape}")
        finite = np.isfinite(latents)
        if not finite.all():
            latents = np.where(finite, latents, self._autoencoder.latent_mean)
        n = self.frames_per_call
        parts = [self._run(latents[k : k + n]) for k in range(0, len(latents), n)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts, axis=1) if parts else np.zeros((card.channels, 0), np.float32)

    def _noise(self, frames: int) -> NDArray[np.float32]:
        """The noise of the next frames, (frames, *noise_per_frame), drawn ahead."""
        start = self._frame - self._drawn_from
        if start < 0 or start + frames > len(self._drawn):
            start, self._drawn_from = 0, self._frame
            shape, normals = self._autoencoder.card.noise_per_frame, self._autoencoder.card.normals_per_frame
            count = max(frames, NOISE_FRAMES)
            values = noise.mixed(self._seed, self._frame, count, normals, math.prod(shape) - normals)
            self._drawn = values.reshape(count, *shape)
        return self._drawn[start : start + frames]

    def _run(self, latents: Latents) -> Audio:
        feed: State = {"latents": latents, **self._state}
        if self._autoencoder.card.noise_per_frame:
            feed["noise"] = self._noise(len(latents))
        audio, *state = self._session.run(self._outputs, feed)
        self._state = dict(zip(self._state, state, strict=True))
        self._frame += len(latents)
        return cast(Audio, audio)


class OnnxEncoderStream:
    """Audio in, latents out, as soon as each frame's look-ahead is known."""

    def __init__(self, autoencoder: OnnxAutoencoder, session: ort.InferenceSession) -> None:
        self.delay = LOOKAHEAD + HOP
        """Samples of audio beyond a frame's end that must be known before its latents come out."""
        self._autoencoder = autoencoder
        self._session = session
        self._clean = _zero_state(session, given=("features",))
        self._outputs = [output.name for output in session.get_outputs()]
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._features = FeatureStream()
        self._waiting = np.zeros((0, FEATURES), np.float32)
        self._state = self._clean

    def encode(self, audio: Audio) -> Latents:
        """Append audio (channels, samples), return the latents of the frames that have become known."""
        card = self._autoencoder.card
        audio = self._autoencoder._checked_audio(audio)
        self._waiting = np.concatenate([self._waiting, self._features.push(audio.mean(axis=0))])
        if len(self._waiting) < 2:
            return np.zeros((0, card.latent_size), np.float32)
        latents, *state = self._session.run(self._outputs, {"features": self._waiting, **self._state})
        self._state = dict(zip(self._state, state, strict=True))
        self._waiting = self._waiting[-1:]
        return cast(Latents, latents)


class OnnxAudioEncoderStream:
    """An encoder that takes the audio itself: whole hops in, a frame of latents for each, the first ones (what it says
    before it has heard enough) left out.
    """

    def __init__(self, autoencoder: OnnxAutoencoder, session: ort.InferenceSession) -> None:
        self.delay = autoencoder.card.encoder_delay
        """Samples of audio beyond a frame's end that must be known before its latents come out."""
        self._autoencoder = autoencoder
        self._session = session
        self._clean = _zero_state(session, given=("audio",))
        self._outputs = [output.name for output in session.get_outputs()]
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._waiting = np.zeros((self._autoencoder.channels, 0), np.float32)
        self._early = self.delay // self._autoencoder.hop
        self._state = self._clean

    def encode(self, audio: Audio) -> Latents:
        """Append audio (channels, samples), return the latents of the frames that have become known."""
        card = self._autoencoder.card
        self._waiting = np.concatenate([self._waiting, self._autoencoder._checked_audio(audio)], axis=1)
        whole = self._waiting.shape[1] // card.hop * card.hop
        if not whole:
            return np.zeros((0, card.latent_size), np.float32)
        audio, self._waiting = self._waiting[:, :whole], self._waiting[:, whole:]
        latents, *state = self._session.run(self._outputs, {"audio": audio, **self._state})
        self._state = dict(zip(self._state, state, strict=True))
        dropped = min(self._early, len(latents))
        self._early -= dropped
        return cast(Latents, latents[dropped:])


def _zero_state(session: ort.InferenceSession, given: tuple[str, ...]) -> State:
    """The state inputs of a graph, all zero: the graphs are made so that zero means a clean start."""
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    return {i.name: np.zeros(i.shape, types[i.type]) for i in session.get_inputs() if i.name not in given}


def _pieces(array: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    """Cut along the second axis."""
    return (array[:, i : i + size] for i in range(0, array.shape[1], size))


def first_line(error: Exception) -> str:
    """What an error of a library says first, cut to a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
