// Which notes are held, so that an engine that missed something can be told anew.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>

#include "generated/protocol.h"

namespace terrain {

class HeldNotes {
public:
    static constexpr std::uint32_t kMostTold = 256;  // a hand has fewer fingers, an arpeggiator too

    void clear() { held_.reset(); }

    void follow(const bridge::Event& event) {
        using bridge::EventKind;
        switch (static_cast<EventKind>(event.kind)) {
            case EventKind::kNoteOn: set(event.channel, event.key, event.value, event.note_id); break;
            case EventKind::kNoteOff:
            case EventKind::kNoteChoke: forget(event.channel, event.key); break;
            case EventKind::kMidi: follow_midi(event); break;
            default: break;
        }
    }

    // Write a note-on for each held note; how many were written.
    std::uint32_t tell(bridge::Event* events) const {
        std::uint32_t count = 0;
        for (int index = 0; index < kAll && count < kMostTold; ++index)
            if (held_[index]) {
                bridge::Event event{};
                event.kind = static_cast<std::uint16_t>(bridge::EventKind::kNoteOn);
                event.channel = static_cast<std::int16_t>(index / kKeys);
                event.key = static_cast<std::int16_t>(index % kKeys);
                event.note_id = ids_[index];
                event.value = velocities_[index];
                events[count++] = event;
            }
        return count;
    }

private:
    static constexpr int kKeys = 128, kAll = 16 * kKeys;

    void follow_midi(const bridge::Event& event) {
        const int status = event.data[0] & 0xF0, channel = event.data[0] & 0x0F, key = event.data[1] & 0x7F;
        const int velocity = event.data[2] & 0x7F;
        constexpr int kNoteOff = 0x80, kNoteOn = 0x90, kControl = 0xB0, kAllSoundOff = 120, kAllNotesOff = 123;
        if (status == kNoteOn && velocity > 0) set(channel, key, velocity / 127.0, -1);
        if (status == kNoteOff || (status == kNoteOn && velocity == 0)) forget(channel, key);
        if (status == kControl && (key == kAllSoundOff || key >= kAllNotesOff)) forget(channel, -1);
    }

    void set(int channel, int key, double velocity, std::int32_t id) {
        if (channel < 0 || channel > 15 || key < 0 || key >= kKeys) return;
        const int index = channel * kKeys + key;
        held_[index] = true;
        velocities_[index] = static_cast<float>(velocity);
        ids_[index] = id;
    }

    // -1 means all.
    void forget(int channel, int key) {
        for (int c = channel < 0 ? 0 : channel; c < (channel < 0 ? 16 : channel + 1) && c < 16; ++c)
            for (int k = key < 0 ? 0 : key; k < (key < 0 ? kKeys : key + 1) && k < kKeys; ++k) held_[c * kKeys + k] = false;
    }

    std::bitset<kAll> held_;
    std::array<float, kAll> velocities_{};
    std::array<std::int32_t, kAll> ids_{};
};

}  // namespace terrain
