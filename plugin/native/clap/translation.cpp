#include "clap/translation.h"

#include <algorithm>
#include <cmath>

namespace terrain::clap {
namespace {

using bridge::EventKind;
using bridge::NoteExpression;

Event blank(EventKind kind) {
    Event event{};
    event.kind = static_cast<std::uint16_t>(kind);
    event.note_id = event.key = event.channel = -1;
    return event;
}

template <typename Clap>
const Clap& as(const clap_event_header_t& header) {
    return reinterpret_cast<const Clap&>(header);
}

// Notes and expressions say alike whom they mean.
template <typename Clap>
void address(Event& event, const Clap& clap) {
    event.note_id = clap.note_id;
    event.key = clap.key;
    event.channel = clap.channel;
}

bool translate_note(EventKind kind, const clap_event_note_t& note, Event& event) {
    event = blank(kind);
    address(event, note);
    event.value = note.velocity;
    return true;
}

bool translate_expression(const clap_event_note_expression_t& clap, Event& event) {
    event = blank(EventKind::kNoteExpression);
    address(event, clap);
    event.value = clap.value;
    const auto is = [&event](NoteExpression kind) {
        event.id = static_cast<std::uint32_t>(kind);
        return true;
    };
    switch (clap.expression_id) {
        case CLAP_NOTE_EXPRESSION_TUNING: return is(NoteExpression::kTuning);
        case CLAP_NOTE_EXPRESSION_PRESSURE: return is(NoteExpression::kPressure);
        case CLAP_NOTE_EXPRESSION_BRIGHTNESS: return is(NoteExpression::kBrightness);
        case CLAP_NOTE_EXPRESSION_VOLUME: return is(NoteExpression::kVolume);
        case CLAP_NOTE_EXPRESSION_PAN: return is(NoteExpression::kPan);
        default: return false;
    }
}

bool translate_parameter(const clap_event_param_value_t& clap, Event& event) {
    if (clap.note_id != -1 || clap.key != -1 || clap.channel != -1) return false;  // one note's value; we have none
    event = blank(EventKind::kParameter);
    event.id = clap.param_id;
    event.value = clap.value;
    return true;
}

// Bytes of a channel message; 0 for everything else.
std::uint16_t midi_size(std::uint8_t status) {
    const int kind = status >> 4;
    if (kind < 0x8 || kind == 0xF) return 0;
    return kind == 0xC || kind == 0xD ? 2 : 3;
}

bool translate_midi(const clap_event_midi_t& clap, Event& event) {
    event = blank(EventKind::kMidi);
    event.size = midi_size(clap.data[0]);
    std::copy_n(clap.data, event.size, event.data);
    return event.size > 0 && std::none_of(event.data + 1, event.data + event.size, [](auto byte) { return byte > 127; });
}

double from_fixed(std::int64_t fixed) { return static_cast<double>(fixed) / static_cast<double>(CLAP_BEATTIME_FACTOR); }

}  // namespace

bool translate(const clap_event_header_t& header, Event& event) {
    switch (header.type) {
        case CLAP_EVENT_NOTE_ON: return translate_note(EventKind::kNoteOn, as<clap_event_note_t>(header), event);
        case CLAP_EVENT_NOTE_OFF: return translate_note(EventKind::kNoteOff, as<clap_event_note_t>(header), event);
        case CLAP_EVENT_NOTE_CHOKE: return translate_note(EventKind::kNoteChoke, as<clap_event_note_t>(header), event);
        case CLAP_EVENT_NOTE_EXPRESSION: return translate_expression(as<clap_event_note_expression_t>(header), event);
        case CLAP_EVENT_PARAM_VALUE: return translate_parameter(as<clap_event_param_value_t>(header), event);
        case CLAP_EVENT_MIDI: return translate_midi(as<clap_event_midi_t>(header), event);
        default: return false;
    }
}

Transport translate(const clap_event_transport_t& clap) {
    const auto flag = [&clap](std::uint32_t theirs, std::uint32_t ours) { return clap.flags & theirs ? ours : 0u; };
    Transport transport;
    transport.flags = bridge::kHasTransport | flag(CLAP_TRANSPORT_IS_PLAYING, bridge::kPlaying) |
                      flag(CLAP_TRANSPORT_IS_RECORDING, bridge::kRecording) |
                      flag(CLAP_TRANSPORT_IS_LOOP_ACTIVE, bridge::kCycle) |
                      flag(CLAP_TRANSPORT_HAS_BEATS_TIMELINE, bridge::kHasBeat) |
                      flag(CLAP_TRANSPORT_HAS_TEMPO, bridge::kHasBpm) |
                      flag(CLAP_TRANSPORT_HAS_SECONDS_TIMELINE, bridge::kHasSeconds) |
                      flag(CLAP_TRANSPORT_HAS_TIME_SIGNATURE, bridge::kHasMeter);
    const bool has_beat = clap.flags & CLAP_TRANSPORT_HAS_BEATS_TIMELINE;
    if (has_beat && clap.flags & CLAP_TRANSPORT_HAS_TIME_SIGNATURE) transport.flags |= bridge::kHasBar;
    if (has_beat && clap.loop_end_beats > clap.loop_start_beats) transport.flags |= bridge::kHasCycle;
    transport.beat = from_fixed(clap.song_pos_beats);
    transport.bpm = clap.tempo;
    transport.seconds = from_fixed(clap.song_pos_seconds);
    transport.bar_beat = from_fixed(clap.bar_start);
    transport.cycle_begin = from_fixed(clap.loop_start_beats);
    transport.cycle_end = from_fixed(clap.loop_end_beats);
    transport.bar = clap.bar_number;
    transport.meter_numerator = clap.tsig_num;
    transport.meter_denominator = clap.tsig_denom;
    return transport;
}

Transport advanced(Transport transport, double seconds) {
    if (!(transport.flags & bridge::kPlaying)) return transport;
    transport.beat += seconds * transport.bpm / 60.0;
    transport.seconds += seconds;
    return transport;
}

}  // namespace terrain::clap
