#include "vst3/block_events.h"

#include <algorithm>
#include <cmath>

#include "vst3/expressions.h"

namespace terrain::vst3 {
namespace {

using bridge::EventKind;

Event blank(EventKind kind, std::int32_t offset) {
    Event event{};
    event.offset = static_cast<std::uint32_t>(std::max(offset, 0));
    event.kind = static_cast<std::uint16_t>(kind);
    event.note_id = event.key = event.channel = -1;
    return event;
}

Event of_note(EventKind kind, std::int32_t offset, std::int16_t channel, std::int16_t key, std::int32_t id,
              double value) {
    Event event = blank(kind, offset);
    event.channel = channel;
    event.key = key;
    event.note_id = id;
    event.value = value;
    return event;
}

}  // namespace

BlockEvents::BlockEvents() : gathered_(kMostEvents), events_(kMostEvents) {}

void BlockEvents::gather(v3_param_changes** changes, v3_event_list** notes, ShownValues& shown) {
    count_ = 0;
    if (changes) {
        const auto& queues = functions_of<v3_param_changes>(changes);
        const std::int32_t queue_count = queues.get_param_count(changes);
        for (std::int32_t i = 0; i < queue_count; ++i)
            if (v3_param_value_queue** queue = queues.get_param_data(changes, i)) gather_points(queue, shown);
    }
    if (notes) {
        const auto& events = functions_of<v3_event_list>(notes);
        const auto event_count = static_cast<std::int32_t>(events.get_event_count(notes));
        v3_event event;
        for (std::int32_t i = 0; i < event_count; ++i)
            if (events.get_event(notes, i, &event) == V3_OK) gather_note(event);
    }
    sort();
}

void BlockEvents::gather_points(v3_param_value_queue** queue, ShownValues& shown) {
    const auto& points = functions_of<v3_param_value_queue>(queue);
    const std::uint32_t index = index_of(points.get_param_id(queue));
    if (index == kParameterCount) return;
    const std::int32_t point_count = points.get_point_count(queue);
    for (std::int32_t i = 0; i < point_count; ++i) {
        if (count_ >= kMostPoints) i = point_count - 1;
        std::int32_t offset = 0;
        double normalised = 0.0;
        if (points.get_point(queue, i, &offset, &normalised) != V3_OK || std::isnan(normalised)) continue;
        Event event = blank(EventKind::kParameter, offset);
        event.id = kParameters[index].id;
        event.value = from_normalised(kParameters[index], normalised);
        add(event);
        shown[index].normalised = std::clamp(normalised, 0.0, 1.0);
        shown[index].unheard = false;
    }
}

void BlockEvents::gather_note(const v3_event& from) {
    const std::int32_t offset = from.sample_offset;
    switch (from.type) {
        case V3_EVENT_NOTE_ON: gather_note_on(from.note_on, offset); break;
        case V3_EVENT_NOTE_OFF: {
            const auto& note = from.note_off;
            add(of_note(EventKind::kNoteOff, offset, note.channel, note.pitch, note.note_id, note.velocity));
            break;
        }
        case V3_EVENT_POLY_PRESSURE: {
            const auto& touch = from.poly_pressure;
            Event event = of_note(EventKind::kNoteExpression, offset, touch.channel, touch.pitch, touch.note_id,
                                  touch.pressure);
            event.id = static_cast<std::uint32_t>(bridge::NoteExpression::kPressure);
            add(event);
            break;
        }
        case V3_EVENT_NOTE_EXP_VALUE: gather_expression(from.note_exp_value, offset); break;
        default: break;
    }
}

void BlockEvents::gather_note_on(const v3_event_note_on& note, std::int32_t offset) {
    // VST3 has no note-on with velocity 0, but hosts that come from MIDI send it.
    const auto kind = note.velocity > 0 ? EventKind::kNoteOn : EventKind::kNoteOff;
    add(of_note(kind, offset, note.channel, note.pitch, note.note_id, note.velocity));
    if (note.note_id >= 0) remember({note.note_id, note.channel, note.pitch});
}

void BlockEvents::gather_expression(const v3_event_note_expression_value& value, std::int32_t offset) {
    const Expression* row = expression_of(value.type_id);
    const PlayedNote* note = played(value.note_id);
    if (!row || !note) return;
    Event event = of_note(EventKind::kNoteExpression, offset, note->channel, note->key, note->id,
                          plain_value(*row, value.value));
    event.id = static_cast<std::uint32_t>(row->meaning);
    add(event);
}

void BlockEvents::add(const Event& event) {
    if (count_ == kMostEvents) return;
    gathered_[count_] = {event, count_};
    ++count_;
}

// Queues come parameter by parameter.
void BlockEvents::sort() {
    const auto earlier = [](const Gathered& a, const Gathered& b) {
        return a.event.offset != b.event.offset ? a.event.offset < b.event.offset : a.order < b.order;
    };
    std::sort(gathered_.begin(), gathered_.begin() + count_, earlier);
    for (std::uint32_t i = 0; i < count_; ++i) events_[i] = gathered_[i].event;
}

void BlockEvents::remember(const PlayedNote& note) {
    const auto same = std::find_if(notes_.begin(), notes_.end(), [&](const PlayedNote& n) { return n.id == note.id; });
    PlayedNote& place = same != notes_.end() ? *same : notes_[next_note_++ % notes_.size()];
    place = note;
}

const BlockEvents::PlayedNote* BlockEvents::played(std::int32_t id) const {
    const auto found = std::find_if(notes_.begin(), notes_.end(), [id](const PlayedNote& n) { return n.id == id; });
    return id < 0 || found == notes_.end() ? nullptr : &*found;
}

}  // namespace terrain::vst3
