"""A new set: what Live 10.1 saves for an empty one, with our plugin on MIDI tracks of its own.

The elements and their order are those of sets that Live saved. No Live has opened one of these sets: it does not run
where this is developed.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from terrain_core import identity
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS, Parameter, by_key
from terrain_core.plugin_state import PluginState
from terrain_daws.live import container
from terrain_daws.live.document import LiveDocument, escaped, hex_lines
from terrain_daws.live.reading import read_bytes
from terrain_daws.project import Project

CREATOR: Final = {
    "MajorVersion": "5",
    "MinorVersion": "10.0_377",
    "SchemaChangeCount": "3",
    "Creator": "Ableton Live 10.1.7",
    "Revision": "",
}
ALWAYS_CONFIGURED: Final = ("x", "y", "pressure")
SLOTS: Final = 128
FREE_SLOT_INDEX: Final = 1073741823
SCENES: Final = 8
CONTROLLERS: Final = 131
FIRST_FREE_ID: Final = 100
FULL_SILENCE: Final = "0.0003162277571"
LOUDEST: Final = "1.99526238"

Switch = Literal["true", "false"]


@dataclass(frozen=True)
class _Device:
    """Our plugin on a track: which parameters Live offers for automation, and what it remembers."""

    track: str
    name: str
    configured: Sequence[Parameter]
    state: PluginState
    lanes: Sequence[Lane]


def new_set(project: Project) -> bytes:
    """The project's instances of our plugin with their lanes, tempo, meters and markers, as a gzipped set.

    Raises:
        InputError: what cannot be in a set.
    """
    devices = list(_devices(project))
    xml = _set(devices).encode()
    made = read_bytes(container.packed(xml, container.GZIP_MAGIC), Path(project.path), "theoretical")
    made.lanes = [
        lane.to_beats(project.tempo_map).labelled(
            track=device.track,
            plugin=device.name,
            plugin_id=identity.VST3_CLASS_UUID,
            parameter_id=by_key(lane.key).id,
            name=by_key(lane.key).name,
        )
        for device in devices
        for lane in device.lanes
    ]
    made.tempo_map = project.tempo_map
    made.markers = list(project.markers)
    assert isinstance(made.document, LiveDocument)
    return made.document.rewritten(made)


def _devices(project: Project) -> Iterator[_Device]:
    """One per instance, the first with the lanes that belong to none; one where there is no instance."""
    instances = project.instances
    placed = [lane for instance in instances for lane in instance.lanes]
    free = [lane for lane in project.lanes if not any(lane is other for other in placed)]
    rows = [(one.track, one.name, one.state, one.lanes) for one in instances] or [("", identity.PLUGIN_NAME, None, [])]
    names: set[str] = set()
    for index, (track, name, state, lanes) in enumerate(rows):
        track = _unused(track or identity.PLUGIN_NAME, names)
        driving: dict[str, Lane] = {}
        for lane in [*lanes, *(free if index == 0 else [])]:
            if lane.key and lane.active:
                driving.setdefault(lane.key, lane)
        keys = {*ALWAYS_CONFIGURED, *driving}
        configured = [parameter for parameter in PARAMETERS if parameter.key in keys]
        yield _Device(track, name, configured, state or PluginState(), list(driving.values()))


def _unused(name: str, names: set[str]) -> str:
    """`name`, or `name 2` and so on: lanes find their way by their track's name."""
    numbered = (name if number == 1 else f"{name} {number}" for number in count(1))
    free = next(candidate for candidate in numbered if candidate not in names)
    names.add(free)
    return free


# --- elements -------------------------------------------------------------------------------------------------------


def _element(tag: str, *content: str, **attributes: object) -> str:
    """An element with others in it, a line each."""
    words = "".join(f' {name}="{escaped(str(value))}"' for name, value in attributes.items())
    if not content:
        return f"<{tag}{words} />"
    inner = "\n".join(content).replace("\n", "\n\t")
    return f"<{tag}{words}>\n\t{inner}\n</{tag}>"


def _value(tag: str, value: object) -> str:
    return _element(tag, Value=value)


def _values(**values: object) -> list[str]:
    return [_value(tag, value) for tag, value in values.items()]


def _switch(on: bool) -> Switch:
    return "true" if on else "false"


class _Ids:
    """Numbers for what automation may refer to, each used once in a set."""

    def __init__(self) -> None:
        self.next = FIRST_FREE_ID

    def target(self, tag: str) -> str:
        self.next += 1
        return _element(tag, _value("LockEnvelope", 0), Id=self.next)

    def number(self, tag: str, manual: object, low: object, high: object) -> str:
        """A parameter with a range."""
        bounds = _element("MidiControllerRange", _value("Min", low), _value("Max", high))
        targets = [self.target("AutomationTarget"), self.target("ModulationTarget")]
        return _element(tag, _value("LomId", 0), _value("Manual", manual), bounds, *targets)

    def switch(self, tag: str) -> str:
        """A switch that is on."""
        thresholds = _element("MidiCCOnOffThresholds", _value("Min", 64), _value("Max", 127))
        return _element(tag, _value("LomId", 0), _value("Manual", "true"), self.target("AutomationTarget"), thresholds)

    def choice(self, tag: str, manual: int) -> str:
        return _element(tag, _value("LomId", 0), _value("Manual", manual), self.target("AutomationTarget"))


def _device_head(ids: _Ids, context: str = "") -> list[str]:
    """What every device, and whatever Live treats as one, begins with."""
    return [
        *_values(LomId=0, LomIdView=0, IsExpanded="true"),
        ids.switch("On"),
        _element("ParametersListWrapper", LomId=0),
        *_values(LastSelectedTimeableIndex=0, LastSelectedClipEnvelopeIndex=0),
        _element("LastPresetRef", _element("Value")),
        _element("LockedScripts"),
        *_values(IsFolded="false", ShouldShowPresetName=_switch(bool(context)), UserName="", Annotation=""),
        _element("SourceContext", context or _element("Value")),
    ]


def _routing(tag: str, target: str, upper: str, lower: str) -> str:
    return _element(tag, *_values(Target=target, UpperDisplayString=upper, LowerDisplayString=lower))


def _mixer(ids: _Ids, *more: str) -> str:
    return _element(
        "Mixer",
        *_device_head(ids),
        _element("Sends"),
        ids.switch("Speaker"),
        *_values(SoloSink="false", PanMode=0),
        ids.number("Pan", 0, -1, 1),
        ids.number("SplitStereoPanL", -1, -1, 1),
        ids.number("SplitStereoPanR", 1, -1, 1),
        ids.number("Volume", 1, FULL_SILENCE, LOUDEST),
        _value("ViewStateSesstionTrackWidth", 93),  # Live's own spelling
        ids.choice("CrossFadeState", 1),
        _element("SendsListWrapper", LomId=0),
        *more,
    )


def _arranger() -> str:
    view = _element(
        "AutomationTransformViewState", _value("IsTransformPending", "false"), _element("TimeAndValueTransforms")
    )
    return _element("ArrangerAutomation", _element("Events"), view)


def _clip_slots(number: int) -> str:
    slots = [
        _element(
            "ClipSlot",
            _value("LomId", 0),
            _element("ClipSlot", _element("Value")),
            *_values(HasStop="true", NeedRefreeze="true"),
            Id=index,
        )
        for index in range(number)
    ]
    return _element("ClipSlotList", *slots)


RECORDER: Final = _element("Recorder", *_values(IsArmed="false", TakeCounter=1))


def _midi_sequencer(ids: _Ids) -> str:
    controllers = [ids.target(f"ControllerTargets.{number}") for number in range(CONTROLLERS)]
    return _element(
        "MainSequencer",
        *_device_head(ids),
        _clip_slots(SCENES),
        _value("MonitoringEnum", 1),
        _element("ClipTimeable", _arranger()),
        RECORDER,
        _element("MidiControllers", *controllers),
    )


def _audio_sequencer(ids: _Ids, slots: int) -> list[str]:
    """What every track keeps for freezing."""
    kinds = ("Volume", "Transposition", "GrainSize", "Flux", "SampleOffset")
    return [
        *_device_head(ids),
        _clip_slots(slots),
        _value("MonitoringEnum", 1),
        _element("Sample", _arranger()),
        *(ids.target(f"{kind}ModulationTarget") for kind in kinds),
        *_values(PitchViewScrollPosition=-1073741824, SampleOffsetModulationScrollPosition=-1073741824),
        RECORDER,
    ]


def _track_head(name: str, user_name: str = "") -> list[str]:
    names = _values(EffectiveName=name, UserName=user_name, Annotation="", MemorizedFirstClipName="")
    return [
        *_values(LomId=0, LomIdView=0, IsContentSelected="false", EnvelopeModePreferred="false"),
        _element("TrackDelay", *_values(Value=0, IsValueSampleBased="false")),
        _element("Name", *names),
        _value("ColorIndex", 0),
        _element("AutomationEnvelopes", _element("Envelopes")),
        *_values(TrackGroupId=-1, TrackUnfolded="true"),
        _element("DevicesListWrapper", LomId=0),
        _element("ClipSlotsListWrapper", LomId=0),
        _value("ViewData", "{}"),
    ]


def _chain_head(output: str, upper: str, lower: str) -> list[str]:
    lane = _element(
        "AutomationLane",
        *_values(SelectedDevice=0, SelectedEnvelope=0, IsContentSelected="false", LaneHeight=68),
        Id=0,
    )
    return [
        _element(
            "AutomationLanes",
            _element("AutomationLanes", lane),
            _value("AreAdditionalAutomationLanesFolded", "false"),
        ),
        _element(
            "ClipEnvelopeChooserViewState",
            *_values(SelectedDevice=0, SelectedEnvelope=0, PreferModulationVisible="false"),
        ),
        _routing("AudioInputRouting", "AudioIn/External/S0", "Ext. In", "1/2"),
        _routing("MidiInputRouting", "MidiIn/External.All/-1", "Ext: All Ins", ""),
        _routing("AudioOutputRouting", output, upper, lower),
        _routing("MidiOutputRouting", "MidiOut/None", "None", ""),
    ]


# --- our plugin -----------------------------------------------------------------------------------------------------


def _uid() -> str:
    """The class id as Live spells it: the UUID's digits as four signed numbers."""
    fields = struct.unpack(">4i", uuid.UUID(identity.VST3_CLASS_UUID).bytes)
    return _element("Uid", *(_value(f"Fields.{number}", field) for number, field in enumerate(fields)))


def _preset(state: PluginState) -> str:
    return _element(
        "Preset",
        _element(
            "Vst3Preset",
            _value("OverwriteProtectionNumber", 2561),
            _element("ParameterSettings"),
            *_values(IsOn="true", PowerMacroControlIndex=-1),
            _element("PowerMacroMappingRange", *_values(Min=64, Max=127)),
            *_values(IsFolded="false", StoredAllParameters="true", DeviceLomId=0, DeviceViewLomId=0, IsOnLomId=0),
            _value("ParametersListWrapperLomId", 0),
            _uid(),
            _value("DeviceType", 1),
            _element("ProcessorState", *hex_lines(state.to_bytes())),
            _element("ControllerState"),
            _value("Name", ""),
            _element("PresetRef"),
            Id=0,
        ),
    )


def _slot(ids: _Ids, index: int, parameter: Parameter | None, state: PluginState) -> str:
    """One of the parameters that Live offers for automation; None is a slot that is free."""
    manual: float | str = 0
    if parameter is not None:
        manual = repr(parameter.to_normalised(state.parameters.get(parameter.key, parameter.default)))
    return _element(
        "PluginFloatParameter",
        _value("ParameterName", parameter.name if parameter else ""),
        _value("ParameterId", parameter.id if parameter else -1),
        _value("VisualIndex", index if parameter else FREE_SLOT_INDEX),
        ids.number("ParameterValue", manual, 0, 1),
        Id=index,
    )


def _plugin(ids: _Ids, device: _Device) -> str:
    browser_path = f"query:Plugins#VST3:{quote(identity.VENDOR)}:{quote(identity.PLUGIN_NAME)}"
    source = _element(
        "BranchSourceContext",
        _element("OriginalFileRef"),
        _value("BrowserContentPath", browser_path),
        _element("PresetRef"),
        _value("BranchDeviceId", f"device:vst3:instr:{identity.VST3_CLASS_UUID}"),
        Id=0,
    )
    head = _device_head(ids, _element("Value", source))
    if device.name != identity.PLUGIN_NAME:
        head = [_value("UserName", device.name) if line == _value("UserName", "") else line for line in head]
    info = _element(
        "Vst3PluginInfo",
        *_values(WinPosX=100, WinPosY=100),
        _preset(device.state),
        _value("Name", identity.PLUGIN_NAME),
        _uid(),
        _value("DeviceType", 1),
        Id=0,
    )
    free = SLOTS - len(device.configured)
    slots = [
        _slot(ids, index, parameter, device.state)
        for index, parameter in enumerate([*device.configured, *[None] * free])
    ]
    return _element("PluginDevice", *head, _element("PluginDesc", info), _element("ParameterList", *slots), Id=0)


# --- the set --------------------------------------------------------------------------------------------------------


def _midi_track(ids: _Ids, number: int, device: _Device) -> str:
    return _element(
        "MidiTrack",
        *_track_head(device.track, device.track),
        *_values(SavedPlayingSlot=-1, SavedPlayingOffset=0, Freeze="false", VelocityDetail=0),
        *_values(NeedArrangerRefreeze="true", PostProcessFreezeClips=0),
        _element(
            "DeviceChain",
            *_chain_head("AudioOut/Master", "Master", ""),
            _mixer(ids),
            _midi_sequencer(ids),
            _element("FreezeSequencer", *_audio_sequencer(ids, SCENES)),
            _element("DeviceChain", _element("Devices", _plugin(ids, device))),
        ),
        _value("ReWireSlaveMidiTargetId", 0),
        Id=number,
    )


def _master_track(ids: _Ids) -> str:
    return _element(
        "MasterTrack",
        *_track_head("Master"),
        _element(
            "DeviceChain",
            *_chain_head("AudioOut/External/S0", "Ext. Out", "1/2"),
            _mixer(
                ids,
                ids.number("Tempo", 120, 60, 200),
                ids.choice("TimeSignature", 201),
                ids.number("GlobalGrooveAmount", 100, 0, 131.25),
                ids.number("CrossFade", 0, -1, 1),
                *_values(TempoAutomationViewBottom=20, TempoAutomationViewTop=200),
            ),
            _element("FreezeSequencer", _element("AudioSequencer", *_audio_sequencer(ids, 0), Id=0)),
            _element("DeviceChain", _element("Devices")),
        ),
    )


def _cue_track(ids: _Ids) -> str:
    devices = _element("DeviceChain", _element("Devices"))
    chain = [*_chain_head("AudioOut/External/S0", "Ext. Out", "1/2"), _mixer(ids), devices]
    return _element("PreHearTrack", *_track_head("Master"), _element("DeviceChain", *chain))


def _key(tag: str, key: str) -> str:
    """A key of the computer's keyboard that Live listens to."""
    nothing = dict.fromkeys(("Channel", "NoteOrController", "LowerRangeNote", "UpperRangeNote"), -1)
    return _element(tag, *_values(PersistentKeyString=key, IsNote="false", **nothing, ControllerMapMode=0))


def _transport() -> str:
    return _element(
        "Transport",
        *_values(PhaseNudgeTempo=10, LoopOn="false", LoopStart=8, LoopLength=16, LoopIsSongStart="false"),
        *_values(CurrentTime=0, PunchIn="false", PunchOut="false", MetronomeTickDuration=0),
        _key("RecordKeyMidi", ""),
        _key("MetronomOnKeyMidi", ""),  # Live's own spelling
        _value("DrawMode", "false"),
    )


def _scenes() -> str:
    scenes = [
        _element(
            "Scene",
            *_values(Annotation="", ColorIndex=0, LomId=0),
            _element("ClipSlotsListWrapper", LomId=0),
            Id=index,
            Value=f" {index + 1}",
        )
        for index in range(SCENES)
    ]
    return _element("SceneNames", *scenes)


def _grid() -> str:
    sizes = _values(FixedNumerator=1, FixedDenominator=16, GridIntervalPixel=20, Ntoles=2)
    return _element("Grid", *sizes, *_values(SnapToGrid="true", Fixed="false"))


def _views() -> list[str]:
    """What is open on the screen; Live expects to be told."""
    session = ("IO", "Sends", "Returns", "Mixer", "TrackDelay", "CrossFade", "ShowOverView")
    arranger = ("IO", "Returns", "Mixer", "TrackDelay", "ShowOverView")
    shown = ("IO", "Sends", "Returns", "Mixer")
    views = [*(f"Session{part}" for part in session), *(f"Arranger{part}" for part in arranger)]
    states = {view: int(view.endswith(shown)) for view in views}
    nowhere = -2147483648
    return [
        *_values(ViewData="{}", MidiFoldIn="false", MidiPrelisten="false", UseWarperLegacyHiQMode="false"),
        _element("VideoWindowRect", Top=nowhere, Left=nowhere, Bottom=nowhere, Right=nowhere),
        *_values(ShowVideoWindow="true", TrackHeaderWidth=93, ViewStateArrangerHasDetail="true"),
        *_values(ViewStateSessionHasDetail="true", ViewStateDetailIsSample="false"),
        _element("ViewStates", *_values(**states)),
    ]


def _rest() -> list[str]:
    """What follows the tracks."""
    wrappers = ("Tracks", "VisibleTracks", "ReturnTracks", "Scenes", "CuePoints")
    return [
        _element("SendsPre"),
        _scenes(),
        _transport(),
        _element("SongMasterValues", _element("SessionScrollerPos", X=0, Y=0)),
        *_values(GlobalQuantisation=4, AutoQuantisation=0),
        _grid(),
        _element("ScaleInformation", *_values(RootNote=0, Name="Major")),
        _value("SmpteFormat", 0),
        _element("TimeSelection", *_values(AnchorTime=0, OtherTime=0)),
        _element(
            "SequencerNavigator",
            _element("BeatTimeHelper", _value("CurrentZoom", 0.08)),
            _element("ScrollerPos", X=0, Y=0),
            _element("ClientSize", X=1138, Y=766),
        ),
        *_values(ViewStateLaunchPanel="false", ViewStateEnvelopePanel="false", ViewStateSamplePanel="true"),
        _element("ContentSplitterProperties", *_values(Open="true", Size=35)),
        *_values(ViewStateFxSlotCount=4, ViewStateSessionMixerHeight=120),
        _element("Locators", _element("Locators")),
        _element("DetailClipKeyMidis"),
        *(_element(f"{wrapper}ListWrapper", LomId=0) for wrapper in wrappers),
        *_values(ChooserBar=0, Annotation="", SoloOrPflSavedValue="true", SoloInPlace="true", CrossfadeCurve=2),
        *_values(LatencyCompensation=2, HighlightedTrackIndex=0),
        _element("GroovePool", _element("Grooves")),
        *_values(AutomationMode="true", SnapAutomationToGrid="true", ArrangementOverdub="false", ColorSequenceIndex=0),
        _element("AutoColorPickerForPlayerAndGroupTracks", _value("NextColorIndex", 0)),
        _element("AutoColorPickerForReturnAndMasterTracks", _value("NextColorIndex", 0)),
        *_views(),
    ]


def _set(devices: Sequence[_Device]) -> str:
    ids = _Ids()
    tracks = [_midi_track(ids, number, device) for number, device in enumerate(devices, 1)]
    body = [_element("Tracks", *tracks), _master_track(ids), _cue_track(ids), *_rest()]
    head = _values(NextPointeeId=ids.next + 1, OverwriteProtectionNumber=2561, LomId=0, LomIdView=0)
    live_set = _element("LiveSet", *head, *body)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _element("Ableton", live_set, **CREATOR) + "\n"
