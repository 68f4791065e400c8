// What a VST3 host hands over for one block besides audio, in the words of core/plugin.h: parameter points and notes in
// time's order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/plugin.h"
#include "generated/parameters.h"
#include "vst3/interfaces.h"

namespace terrain::vst3 {

// What the controller shows of a parameter.
struct Shown {
    std::atomic<double> normalised{0.0};
    std::atomic<bool> unheard{false};  // the host has told the controller, and no queue has brought it yet
};
using ShownValues = std::array<Shown, kParameterCount>;  // by index into kParameters

class BlockEvents {
public:
    BlockEvents();

    // Take in a block's changes (null: none), and forget those of the block before. Audio thread: allocates nothing.
    // `shown` follows each queue to its last point.
    void gather(v3_param_changes** changes, v3_event_list** notes, ShownValues& shown);

    const Event* data() const { return events_.data(); }
    std::uint32_t count() const { return count_; }

private:
    // In one block. Hosts send a point or two per parameter, at most one per sample. Of more points than there is room
    // for, each queue's last one still counts, so that parameters end up where the host has them.
    static constexpr std::uint32_t kMostPoints = 8192, kMostNotes = 1024;
    static constexpr std::uint32_t kMostEvents = kMostPoints + kParameterCount + kMostNotes;

    struct Gathered {
        Event event;
        std::uint32_t order;  // of events on one sample: as the host has them
    };
    struct PlayedNote {
        std::int32_t id = -1;
        std::int16_t channel = 0, key = 0;
    };

    void gather_points(v3_param_value_queue** queue, ShownValues& shown);
    void gather_note(const v3_event& from);
    void gather_note_on(const v3_event_note_on& note, std::int32_t offset);
    void gather_expression(const v3_event_note_expression_value& value, std::int32_t offset);
    void add(const Event& event);
    void sort();

    // Note expressions name a note by its id alone; the engine knows notes by channel and key.
    void remember(const PlayedNote& note);
    const PlayedNote* played(std::int32_t id) const;

    std::vector<Gathered> gathered_;
    std::vector<Event> events_;
    std::uint32_t count_ = 0;
    std::array<PlayedNote, 256> notes_{};
    std::uint32_t next_note_ = 0;
};

}  // namespace terrain::vst3
