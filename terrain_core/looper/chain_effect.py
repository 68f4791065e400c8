"""A chain at work: the latent effect that plays loopers, effects and chains within chains.

What is asked of its loopers comes from four sides: actions told beforehand (`do`), the chain's automation, MIDI
bindings, and the plugin's loop parameters. All become cues at frames, and so sound the same however the frames are cut.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.breakpoints import Doubles
from terrain_core.engine.controls import COLUMN, Controls
from terrain_core.engine.effects import Frames, standard_effects
from terrain_core.engine.sources import TerrainLike, unit_coordinates
from terrain_core.errors import InputError
from terrain_core.looper.chain import EFFECT_KEYS, Binding, LatentEffects, LooperChain
from terrain_core.looper.layer import Loudness
from terrain_core.looper.loop_controls import KEYS, NEUTRAL, Desk, Knob, LoopControls
from terrain_core.looper.looper import Action, Looper, State, Statistics
from terrain_core.looper.voice import JUMP, Cue, Hold, Voice
from terrain_core.parameters import DEFAULTS, PressureTarget
from terrain_core.tempo import TempoMap

if TYPE_CHECKING:
    from terrain_core.instrument import Instrument

MAGIC: Final = b"LOOPS001"
"""Begins a chain's state."""

FOUR_FOUR: Final = 4.0
IN_BEATS: Final = TempoMap.constant(60.0)
"""Reads lanes over beats: a second is a beat."""

NOTE_OFF, NOTE_ON, CONTROL_CHANGE = 0x80, 0x90, 0xB0
HALF_WAY: Final = 64

_STATES: Final = {state: index for index, state in enumerate(State)}


class ChainEffect:
    """A chain at work: a latent effect for `render_batch(effects=[…])` or an `Engine`."""

    def __init__(self, chain: LooperChain, instrument: Instrument) -> None:
        """
        Raises:
            InputError: a loop's vectors are not of this instrument's size.
        """
        self.chain = chain
        self.loudness: NDArray[np.float64] | None = None
        """How loud the frames of the last `process` are, shape (frames,); see `Frames.loudness`."""
        self._instrument = instrument
        self._begin({looper.name: self._voice(looper) for looper in chain.loopers})
        self._actions: list[tuple[float, str, Action]] = []
        self._automated = list(_lanes(chain))
        self._controllers: dict[tuple[int, int], int] = {}
        self._last_beat = 0.0

    def _begin(self, voices: dict[str, Voice]) -> None:
        self.voices = voices
        self._root = _ChainNode(self.chain, _Parts(voices, self._instrument.autoencoder, self._instrument.terrain))
        self._desks = {looper.name: Desk(looper) for looper in self.chain.loopers}
        self._controls = LoopControls()
        self._automation_seen: dict[tuple[str, str], float] = {}
        self._resting = False

    def _voice(self, looper: Looper) -> Voice:
        terrain = self._instrument.terrain
        wanted = self._instrument.autoencoder.latent_size
        statistics = Statistics.of(self._instrument.autoencoder)
        if looper.kind == "coordinates":
            if terrain is None:
                raise InputError(f"looper {looper.name!r} holds coordinates, and the instrument has no terrain")
            wanted = terrain.control_size
            statistics = Statistics(np.full(wanted, 0.5, np.float32), np.full(wanted, 0.25, np.float32))
        if looper.layer is not None and looper.layer.size != wanted:
            raise InputError(f"looper {looper.name!r} holds vectors of {looper.layer.size}, expected {wanted}")
        return Voice(looper, statistics)

    def do(self, name: str, action: Action, beat: float = -math.inf) -> None:
        """Have a looper do something, at the first frame from `beat` on; it may then wait for its own quantisation.

        Raises:
            InputError: no such looper.
        """
        if name not in self.voices:
            raise InputError(f"no looper {name!r}, expected one of {', '.join(self.voices)}")
        self._actions.append((beat, name, action))

    @property
    def states(self) -> dict[str, State]:
        """What each looper is doing."""
        return {name: voice.state for name, voice in self.voices.items()}

    @property
    def selected(self) -> tuple[int, float]:
        """Of the loop that Loop Slot chooses: its state's number (Loop State), and its phase, 0..1 (Loop Phase)."""
        voice = next((v for n, v in enumerate(self.voices.values()) if n == self._controls.slot), None)
        if voice is None:
            return 0, 0.0
        return _STATES[voice.state], float(voice.phase_at(self._last_beat))

    def claims(self, message: bytes) -> bool:
        """Whether a MIDI message is bound to a looper, and is not to be played as well."""
        return any(binding.note != -1 and _is_meant(binding, message) for binding in self.chain.bindings)

    def reset(self) -> None:
        """A stream begins anew: the loops stay."""
        self._root.reset()

    def process(self, latents: Latents, frames: Frames) -> Latents:
        """The next frames; see `LatentEffect`."""
        self.loudness = frames.loudness
        if not len(latents):
            return latents
        self._last_beat = float(frames.beats[-1])
        moved = self._controls.moved(frames.controls)
        if self._resting and not (moved or frames.midi or self._actions or self._automated):
            return latents
        due = self._due(frames, moved)
        loudness = np.ones(len(latents)) if frames.loudness is None else frames.loudness
        bars = frames.bars if frames.bars is not None else _four_four(frames.beats)
        weights = self._weights(frames.beats)
        run = _Run(replace(frames, bars=bars), bars, due, weights)
        out, presence, loud = self._root.process(latents, loudness.astype(np.float32), run)
        if presence.any():
            self.loudness = np.where(presence > 0, loud, loudness).astype(np.float64)
        self._resting = all(voice.rests for voice in self.voices.values()) and not self._root.has_effects
        return out

    # --- what is asked of the loopers -----------------------------------------------------------------------------

    def _due(self, frames: Frames, moved: bool) -> dict[str, list[Cue]]:
        """The cues of these frames, by looper, in the order of their frames."""
        due: dict[str, list[Cue]] = {}
        for name, cue in self._from_automation(frames.beats):
            due.setdefault(name, []).append(cue)
        if moved:
            names = list(self.voices)
            for row, slot, what in self._controls.follow(frames.controls):
                if slot < len(names):
                    asked = self._desks[names[slot]].turn(*what) if isinstance(what, Knob) else what
                    due.setdefault(names[slot], []).append(Cue(row, asked))
        for message in frames.midi:
            late = not 0 <= frames.beats[message.row] - message.beat <= JUMP
            for name, cue in self._from_midi(message.row, None if late else message.beat, message.data):
                due.setdefault(name, []).append(cue)
        for name, cue in self._from_actions(frames.beats):
            due.setdefault(name, []).append(cue)
        for cues in due.values():
            cues.sort(key=lambda cue: cue.row)
        return due

    def _from_actions(self, beats: Doubles) -> Iterator[tuple[str, Cue]]:
        waiting = []
        for beat, name, action in self._actions:
            reached = np.flatnonzero(beats >= beat)
            if reached.size:
                row = int(reached[0])
                yield name, Cue(row, action, beat if beats[row] - beat <= JUMP else None)
            else:
                waiting.append((beat, name, action))
        self._actions = waiting

    def _from_automation(self, beats: Doubles) -> Iterator[tuple[str, Cue]]:
        for name, setting, lane in self._automated:
            if setting == "weight" or name not in self._desks:
                continue
            values = lane.values_at(beats, IN_BEATS)
            before = self._automation_seen.get((name, setting))
            changed = np.append(before is None or values[0] != before, values[1:] != values[:-1])
            for row in np.flatnonzero(changed).tolist():
                yield name, Cue(row, self._desks[name].move(setting, float(values[row])))
            self._automation_seen[name, setting] = float(values[-1])

    def _from_midi(self, row: int, beat: float | None, data: bytes) -> Iterator[tuple[str, Cue]]:
        if len(data) != 3:
            return
        for binding in self.chain.bindings:
            if not _is_meant(binding, data):
                continue
            pressed, value = _pressed(data), data[-1]
            before = HALF_WAY - 1
            if binding.controller is not None:
                before = self._controllers.get((data[0] & 0x0F, data[1]), 0)
            if binding.set is not None:
                amount = binding.low + (binding.high - binding.low) * value / 127
                yield binding.looper, Cue(row, self._desks[binding.looper].move(binding.set, amount))
            elif binding.do is not None and binding.hold:
                yield binding.looper, Cue(row, Hold(binding.do, pressed), beat)
            elif binding.do is not None and pressed and before < HALF_WAY:
                yield binding.looper, Cue(row, binding.do, beat)
        if data[0] & 0xF0 == CONTROL_CHANGE:
            self._controllers[data[0] & 0x0F, data[1]] = data[-1]

    def _weights(self, beats: Doubles) -> dict[str, Doubles]:
        """Automated weights, name -> shape (frames,), 0..1."""
        return {
            name: np.clip(lane.values_at(beats, IN_BEATS), 0, 1)
            for name, setting, lane in self._automated
            if setting == "weight"
        }

    # --- as bytes -------------------------------------------------------------------------------------------------

    @property
    def untouched(self) -> bool:
        """Whether all that it remembers follows from the chain and the parameters."""
        fresh = all(
            voice.content is None and not voice.past and not voice.future and voice.rests
            for voice in self.voices.values()
        )
        as_built = all(looper.layer is None for looper in self.chain.loopers)
        slots = enumerate(self._desks.values())
        follows = all(
            not desk.own and desk.knobs == (self._controls.knobs if slot == self._controls.slot else NEUTRAL)
            for slot, desk in slots
        )
        return fresh and as_built and follows and not self._automation_seen

    def to_bytes(self) -> bytes:
        """Everything that the loopers remember, and what they were set to; undone by `restore`."""
        parts = {name: voice.to_bytes() for name, voice in self.voices.items()}
        head = json.dumps(
            {
                "sizes": {name: len(data) for name, data in parts.items()},
                "seen": dict(zip(KEYS, self._controls.seen, strict=True)),
                "knobs": {n: {k: v for k, v in d.knobs.items() if v != NEUTRAL[k]} for n, d in self._desks.items()},
                "own": {name: desk.own for name, desk in self._desks.items()},
                "automation": [[*key, value] for key, value in self._automation_seen.items()],
            }
        ).encode()
        return MAGIC + len(head).to_bytes(8, "little") + head + b"".join(parts.values())

    def restore(self, data: bytes) -> None:
        """Become what `to_bytes` was taken of; of no bytes, what the chain itself says.

        Raises:
            InputError: damaged, or of a chain with other loopers; nothing was changed.
        """
        if not data:
            self._begin({looper.name: self._voice(looper) for looper in self.chain.loopers})
            return
        try:
            if data[:8] != MAGIC:
                raise InputError(f"a chain's state is damaged (it begins with {data[:8]!r}, not with {MAGIC!r})")
            size = int.from_bytes(data[8:16], "little")
            head = json.loads(data[16 : 16 + size])
            if list(head["sizes"]) != list(self.voices):
                raise InputError(
                    f"a state of the loopers {', '.join(head['sizes'])}, expected {', '.join(self.voices)}"
                )
            restored = {}
            position = 16 + size
            for name, voice in self.voices.items():
                fresh = Voice(self.chain[name], voice.statistics)
                fresh.restore(data[position : position + int(head["sizes"][name])])
                restored[name] = fresh
                position += int(head["sizes"][name])
            controls = LoopControls(tuple(float(head["seen"].get(key, DEFAULTS[key])) for key in KEYS))
            desks = {
                looper.name: Desk(
                    looper,
                    dict(head["own"].get(looper.name, {})),
                    {**NEUTRAL, **{k: float(v) for k, v in head["knobs"].get(looper.name, {}).items() if k in NEUTRAL}},
                )
                for looper in self.chain.loopers
            }
            automation = {(str(name), str(setting)): float(value) for name, setting, value in head["automation"]}
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"a chain's state is damaged ({error})") from None
        self._begin(restored)
        self._controls, self._desks, self._automation_seen = controls, desks, automation


def _is_meant(binding: Binding, data: bytes) -> bool:
    if len(data) != 3 or (binding.channel is not None and (data[0] & 0x0F) != binding.channel - 1):
        return False
    kind = data[0] & 0xF0
    if binding.controller is not None:
        return kind == CONTROL_CHANGE and data[1] == binding.controller
    return kind in (NOTE_ON, NOTE_OFF) and binding.note in (-1, data[1])


def _pressed(data: bytes) -> bool:
    """Whether a note begins, or a controller is up."""
    kind = data[0] & 0xF0
    return data[-1] >= HALF_WAY if kind == CONTROL_CHANGE else kind == NOTE_ON and data[-1] > 0


def _lanes(chain: LooperChain) -> Iterator[tuple[str, str, Any]]:
    for name, lanes in chain.automation.items():
        for setting, lane in lanes.items():
            yield name, setting, lane
    for part in chain.parts:
        if isinstance(part, LooperChain):
            yield from _lanes(part)


def _four_four(beats: Doubles) -> Doubles:
    return np.stack([np.floor(beats / FOUR_FOUR) * FOUR_FOUR, np.full(len(beats), FOUR_FOUR)], axis=1)


# --- the tree of parts ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Frames, and what happens in them. The bars are known; `due` and `weights` by the names of parts."""

    frames: Frames
    bars: Doubles
    due: Mapping[str, Sequence[Cue]]
    weights: Mapping[str, Doubles]

    def stretch(self, begin: int, end: int, shift: float, due: Mapping[str, Sequence[Cue]]) -> _Run:
        """Frames `begin` to `end` (not with it), their beats moved by `shift`."""
        rows = slice(begin, end)
        whole = self.frames
        bars = self.bars[rows] + np.array([shift, 0.0])
        frames = Frames(
            whole.first + begin,
            Controls(whole.controls.values[rows]),
            whole.beats[rows] + shift,
            bars=bars,
            heard=None if whole.heard is None else whole.heard[rows],
        )
        return _Run(frames, bars, due, {name: weights[rows] for name, weights in self.weights.items()})


class _Sound(NamedTuple):
    """Latents (n, D); how much of them is a loop's, (n,), 0 where none plays; how loud they are, (n,)."""

    latents: Latents
    presence: Doubles
    loudness: Loudness


@dataclass(frozen=True)
class _Parts:
    """What the nodes of the tree need."""

    voices: Mapping[str, Voice]
    autoencoder: Autoencoder
    terrain: TerrainLike | None


class _LooperNode:
    def __init__(self, looper: Looper, parts: _Parts) -> None:
        self._name = looper.name
        self.voice = parts.voices[looper.name]
        self._terrain = parts.terrain

    def reset(self) -> None:
        """The loop stays."""

    def process(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        frames, voice = run.frames, self.voice
        cues = run.due.get(self._name, ())
        if voice.rests and not cues:
            return _Sound(latents, np.zeros(len(latents)), loudness)
        if voice.looper.kind != "coordinates" or self._terrain is None:
            return _Sound(*voice.process(latents, frames.beats, run.bars, cues, loudness, frames.heard))
        unit = unit_coordinates(frames.controls, self._terrain.control_size).astype(np.float32)
        moved, presence, loud = voice.process(unit, frames.beats, run.bars, cues, loudness, frames.heard)
        heard = presence > 0
        out = latents.copy()
        if heard.any():
            out[heard] = self._terrain.at(moved[heard].astype(np.float64))
        return _Sound(out, presence, loud)


class _EffectsNode:
    def __init__(self, part: LatentEffects, lanes: Mapping[str, Any], parts: _Parts) -> None:
        self._values = {**{key: DEFAULTS[key] for key in EFFECT_KEYS}, **part.values}
        self._lanes = {key: lane for key, lane in lanes.items() if key != "weight"}
        # The seed follows from the name, so that two of them do not draw the same noise.
        self._effects = standard_effects(parts.autoencoder, zlib.crc32(part.name.encode()))

    def reset(self) -> None:
        for effect in self._effects:
            effect.reset()

    def process(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        values = run.frames.controls.values.copy()
        for key, value in self._values.items():
            values[:, COLUMN[key]] = value
        for key, lane in self._lanes.items():
            values[:, COLUMN[key]] = lane.values_at(run.frames.beats, IN_BEATS)
        values[:, COLUMN["pressure_target"]] = PressureTarget.OFF
        frames = replace(run.frames, controls=Controls(values))
        for effect in self._effects:
            latents = effect.process(latents, frames)
        return _Sound(latents, np.ones(len(latents)), loudness)


class _ChainNode:
    def __init__(self, chain: LooperChain, parts: _Parts) -> None:
        self._chain = chain
        self._nodes: dict[str, _LooperNode | _EffectsNode | _ChainNode] = {}
        self._names: dict[str, list[str]] = {}
        for part in chain.parts:
            if isinstance(part, LooperChain):
                self._nodes[part.name] = _ChainNode(part, parts)
                self._names[part.name] = [looper.name for looper in part.loopers]
            elif isinstance(part, LatentEffects):
                self._nodes[part.name] = _EffectsNode(part, chain.automation.get(part.name, {}), parts)
                self._names[part.name] = []
            else:
                self._nodes[part.name] = _LooperNode(part, parts)
                self._names[part.name] = [part.name]
        self._late: dict[str, list[Cue]] = {}

    @property
    def has_effects(self) -> bool:
        """Whether something in it works without any loop."""
        nodes = self._nodes.values()
        return any(isinstance(n, _EffectsNode) or (isinstance(n, _ChainNode) and n.has_effects) for n in nodes)

    def reset(self) -> None:
        for node in self._nodes.values():
            node.reset()

    def process(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        if self._chain.mode == "series":
            return self._series(latents, loudness, run)
        if self._chain.mode == "song":
            return self._song(latents, loudness, run)
        return self._parallel(latents, loudness, run)

    def _sound(self, name: str, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        """A part's sound; nothing of it where others are soloed."""
        sound = self._nodes[name].process(latents, loudness, run)
        if self._chain.soloed and name not in self._chain.soloed:
            return _Sound(latents, np.zeros(len(latents)), loudness)
        return sound

    def _through(self, name: str, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        """What comes in, with a part's sound in the latents that it drives."""
        sound = self._sound(name, latents, loudness, run)
        if name not in self._chain.routes:
            return sound
        columns = self._columns(name)
        routed = latents.copy()
        routed[:, columns] = sound.latents[:, columns]
        share = np.float32(routed[:, columns].shape[1] / max(routed.shape[1], 1))
        return _Sound(routed, sound.presence, loudness + share * (sound.loudness - loudness))

    def _columns(self, name: str) -> slice:
        if name not in self._chain.routes:
            return slice(None)
        first, last = self._chain.routes[name]
        return slice(first - 1, last)

    def _series(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        presence = np.zeros(len(latents))
        loops = any(self._names.values())
        for name, node in self._nodes.items():
            latents, there, loudness = self._through(name, latents, loudness, run)
            if not (loops and isinstance(node, _EffectsNode)):
                presence = np.maximum(presence, there)
        return _Sound(latents, presence, loudness)

    def _parallel(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        """Parts by weight and loudness: what is silent leaves no trace; loudness adds up as in a mixer, to 1 or as far
        as the loudest goes.
        """
        # A column of its own for each latent only where parts drive some of them.
        size = latents.shape[1] if self._chain.routes else 1
        shares = np.zeros((len(latents), size))
        weights = np.zeros((len(latents), size))
        mixed = np.zeros(latents.shape)
        presence = np.zeros(len(latents))
        top = np.ones(len(latents))
        for name, node in self._nodes.items():
            if isinstance(node, _LooperNode) and node.voice.rests and not run.due.get(name):
                continue
            out, there, loud = self._sound(name, latents, loudness, run)
            weight = run.weights.get(name, self._chain.weights.get(name, 1.0))
            share = (there > 0) * weight
            if not share.any():
                continue
            columns = self._columns(name)
            own = share * loud
            shares[:, columns] += share[:, np.newaxis]
            weights[:, columns] += own[:, np.newaxis]
            mixed[:, columns] += own[:, np.newaxis] * out[:, columns]
            np.maximum(presence, there, out=presence, where=share > 0)
            np.maximum(top, loud, out=top, where=share > 0)
        if not presence.any():
            return _Sound(latents, presence, loudness)
        rest = np.maximum(1 - shares, 0) * loudness[:, np.newaxis]
        total = weights + rest
        out = np.divide(mixed + rest * latents, total, out=latents.astype(np.float64), where=total > 0)
        loud = np.minimum(total.mean(axis=1), np.maximum(top, loudness))
        return _Sound(out.astype(np.float32), presence, loud.astype(np.float32))

    def _song(self, latents: Latents, loudness: Loudness, run: _Run) -> _Sound:
        """Each section's loop begins with the section."""
        beats = run.frames.beats
        sections = self._chain.song
        edges = np.concatenate([[0.0], np.cumsum([float(self._chain.pass_of(n) or 1) * t for n, t in sections])])
        position = beats % edges[-1]
        section = np.clip(np.searchsorted(edges, position + 1e-9, side="right") - 1, 0, len(sections) - 1)
        out, presence, loud = latents.copy(), np.zeros(len(latents)), loudness.copy()
        jumps = (np.diff(section) != 0) | (np.diff(position) < 0)
        ends = [*(np.flatnonzero(jumps) + 1).tolist(), len(beats)]
        for names in self._names.values():
            for name in names:
                self._late.setdefault(name, []).extend(run.due.get(name, ()))
        begin = 0
        for end in ends:
            index = int(section[begin])
            name = sections[index][0]
            before = math.floor(beats[begin] / edges[-1]) * edges[-1] + edges[index]
            shift = self._origin(name) - float(before)
            due = {looper: self._delivered(looper, begin, end, shift) for looper in self._names[name]}
            rows = slice(begin, end)
            stretch = run.stretch(begin, end, shift, due)
            out[rows], presence[rows], loud[rows] = self._through(name, latents[rows], loudness[rows], stretch)
            begin = end
        self._late = {name: [Cue(0, cue.what) for cue in cues] for name, cues in self._late.items() if cues}
        return _Sound(out, presence, loud)

    def _delivered(self, looper: str, begin: int, end: int, shift: float) -> list[Cue]:
        """The cues that have waited for a looper's turn, up to row `end`, as rows from `begin` on."""
        cues = self._late.get(looper, [])
        self._late[looper] = [cue for cue in cues if cue.row >= end]
        return [
            Cue(cue.row - begin, cue.what, None if cue.beat is None else cue.beat + shift)
            if cue.row >= begin
            else Cue(0, cue.what)
            for cue in cues
            if cue.row < end
        ]

    def _origin(self, name: str) -> float:
        part = next(part for part in self._chain.parts if part.name == name)
        return part.origin if isinstance(part, Looper) else 0.0
