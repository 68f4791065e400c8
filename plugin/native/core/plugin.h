// The plugin behind both formats: what a host does to an instrument, in words that are neither VST3's nor CLAP's.
//
// A face (`clap/`, `vst3/`) owns one `Plugin` per instance and translates; it holds no state of its own besides what
// its format asks for. In the order of a plugin's life:
//
//   Plugin(listener)                             main thread
//   restore_state, set_parameter                 main thread, at any time, also while playing
//   activate(rate, max_block) ... deactivate()   main thread, never while process() runs
//   reset(), process(block)                      audio thread, between activate and deactivate
//   latency_samples, parameter, save_state       any thread, at any time
//   ~Plugin()                                    main thread
//
// process() and reset() never allocate, never take a lock that another thread could hold, and make no system call but
// the wake-up and the wait for it. Everything slow (starting engines, opening instruments) is the work of the
// supervisor, a thread that every Plugin has for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/gestures.h"
#include "generated/protocol.h"

namespace terrain {

using bridge::Event;

// The host's transport at a block's first sample. `flags` are those of bridge::RequestFlag from kHasTransport on.
struct Transport {
    std::uint32_t flags = 0;
    double beat = 0.0;     // quarter notes; may be negative
    double bpm = 0.0;      // quarter notes a minute
    double seconds = 0.0;
    double bar_beat = 0.0; // where the running bar began
    double cycle_begin = 0.0, cycle_end = 0.0;
    std::int32_t bar = 0;
    std::uint16_t meter_numerator = 0, meter_denominator = 0;
};

// One call of process(). A face that gets transport changes in the middle of a block calls process() once per stretch.
struct AudioBlock {
    std::uint32_t samples = 0;                  // 0 is allowed: events are taken, nothing is made
    const float* inputs[2] = {};                // null: no input; mono: twice the same; may be the outputs (in place)
    float* outputs[2] = {};                     // outputs[1] null: a mono host, which gets the mean of both
    bool offline = false;                       // a bounce: wait for the engine instead of being late
    bool lines = false;                         // parameter points are joined by straight lines (VST3)
    const Transport* transport = nullptr;       // null: the host has none
    const Event* events = nullptr;              // sorted by offset; offsets beyond the block count as its last sample
    std::uint32_t event_count = 0;
    std::int64_t deadline_ns = 0;               // of a stretch: Plugin::deadline_ns of the host's whole block
};

// What a Plugin tells its face. Called on the supervisor's thread: the face must ask its host for the main thread.
class Listener {
public:
    virtual ~Listener() = default;
    virtual void latency_changed() = 0;                // the host should restart the plugin or ask again
    virtual void status_changed() = 0;                 // parameter Status has another value
    virtual void gestures_came() = 0;                  // a hand at the editor has done something: see tell_gestures
};

class Plugin {
public:
    explicit Plugin(Listener& listener);
    ~Plugin();
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;

    // Start the engine, or have it start in the background if it takes longer than a host's user would wait (seconds).
    // False: nothing can be done with these numbers. Without an engine it still succeeds: the plugin is silent then.
    bool activate(double sample_rate, std::uint32_t max_block);
    void deactivate();

    // The next block begins a new stream: no note is held, nothing rings on.
    void reset();

    // Make a block of any length; one beyond max_block is made in pieces. Returns whether it is all zeros (silence
    // flags). Parameter events are taken into parameter() too.
    bool process(const AudioBlock& block);

    // When a live block of this length that begins now must be there, on the monotonic clock.
    std::int64_t deadline_ns(std::uint32_t samples) const;

    std::uint32_t latency_samples() const;  // the same live and offline
    std::uint32_t tail_samples() const;     // UINT32_MAX: endless

    // Tell the host what a hand at the editor did: calls tell(gesture) for each Gesture, the oldest first, as long as it
    // returns true; what it refuses comes first the next time. The face says from which thread its host wants to hear
    // that, and whether the plugin has to set the value itself. Never waits: a second thread gets none meanwhile.
    template <typename Tell>
    void tell_gestures(Tell&& tell) {
        if (!claim_gestures()) return;
        for (const Gesture* gesture = next_gesture(); gesture && tell(*gesture); gesture = next_gesture())
            gesture_told();
        release_gestures();
    }

    // Whose instance this is, for lists of instances; a name that is not known is empty. Main thread.
    void set_about(const std::string& host, const std::string& track);

    // Have the editor's page opened for this instance; false if no engine runs. Main thread.
    bool open_editor();

    // Plain values, by index into kParameters. Set from any thread; reaches the engine with the next block, or at
    // once if none is processed. A read-only parameter cannot be set, a value out of range is clamped, NaN is ignored.
    // The engine's own read-outs (Loop State, Loop Phase) are those of the newest block.
    double parameter(std::uint32_t index) const;
    void set_parameter(std::uint32_t index, double plain);

    // The state's bytes (layout: terrain_core/plugin_state.py). Asks the engine for its loops and waits a moment for
    // them; takes the last known ones if it does not answer.
    std::vector<std::uint8_t> save_state();

    // Take over a state; what was there goes on if it is refused. False: refused, and `problem` says why.
    bool restore_state(const std::uint8_t* data, std::size_t size, std::string& problem);

    // For tests and diagnostics.
    struct Counters {
        std::uint64_t blocks;      // processed
        std::uint64_t late;        // replaced by silence because the engine was not there in time
        std::uint64_t restarts;    // engines that were started after one was lost
        std::uint64_t engine_ns;   // what the engine itself took for the newest block
        std::int64_t engine_pid;   // of the engine that runs; 0 if none does
    };
    Counters counters() const;

private:
    bool claim_gestures();
    const Gesture* next_gesture();
    void gesture_told();
    void release_gestures();

    class Implementation;
    std::unique_ptr<Implementation> implementation_;
};

// The read-only parameters that a face tells its host from process(), when they have changed enough to be seen.
class ReadOuts {
public:
    // Calls tell(index, plain) for each of `plugin`'s read-outs that has news.
    template <class Tell>
    void tell(const Plugin& plugin, Tell&& tell) {
        for (std::size_t i = 0; i < kCount; ++i) {
            const double plain = plugin.parameter(index_[i]);
            if (plain == told_[i] || (i == kPhase && -kFinest < plain - told_[i] && plain - told_[i] < kFinest)) continue;
            if (tell(index_[i], plain)) told_[i] = plain;
        }
    }

    ReadOuts();

private:
    static constexpr std::size_t kCount = 3, kPhase = 2;
    static constexpr double kFinest = 1.0 / 128;  // of a turn: a display needs no more
    std::uint32_t index_[kCount];                 // Status, Loop State, Loop Phase
    double told_[kCount] = {-1.0, -1.0, -1.0};
};

// The parameter table's laws, the same as terrain_core/parameters.py; a test compares them over the whole table.
struct Parameter;
double clamp(const Parameter& parameter, double plain);
double to_normalised(const Parameter& parameter, double plain);
double from_normalised(const Parameter& parameter, double normalised);
std::string text(const Parameter& parameter, double plain);               // "-6.0 dB", "Transport"
bool parse(const Parameter& parameter, const std::string& text, double& plain);
std::uint32_t index_of(std::uint32_t id);                                 // kParameterCount if there is none

}  // namespace terrain
