// The VST3 face: one object that is component, processor and controller, over core/plugin.h.
//
// Values take two ways in VST3. What is heard comes to process() in queues; what is shown goes through the controller's
// functions, at some other time and on another thread. So the object keeps the shown values by themselves, and what is
// shown is heard only where no queue will come: when a state is saved, and before activation.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/plugin.h"
#include "generated/parameters.h"
#include "vst3/block_events.h"
#include "vst3/interfaces.h"
#include "vst3/main_thread.h"

namespace terrain::vst3 {

class Plugin final : Listener {
public:
    // A new object with one reference, as this interface; null if it has no such interface.
    static void* create(const v3_tuid interface);

private:
    Plugin();
    ~Plugin() override = default;

    // ---- FUnknown
    v3_result query(const v3_tuid interface, void** found);
    std::uint32_t release();

    // ---- component (UI thread)
    v3_result initialize(v3_funknown** host);
    v3_result terminate();
    v3_result bus_info(std::int32_t media, std::int32_t direction, std::int32_t index, v3_bus_info* info) const;
    v3_result set_active(bool active);
    v3_result set_state(v3_bstream** stream);
    v3_result get_state(v3_bstream** stream);
    v3_result take_component_state();  // as controller

    // ---- audio processor
    v3_result set_arrangements(const v3_speaker_arrangement* inputs, std::int32_t input_count,
                               const v3_speaker_arrangement* outputs, std::int32_t output_count);
    v3_result arrangement(std::int32_t direction, std::int32_t index, v3_speaker_arrangement* found) const;
    v3_result setup(const v3_process_setup& setup);
    std::uint32_t latency();
    v3_result process(v3_process_data& data);  // audio thread

    void tell_read_outs(v3_param_changes** changes);

    // ---- controller (UI thread)
    v3_result parameter_info(std::int32_t index, v3_param_info* info) const;
    double shown(v3_param_id id);
    v3_result show(v3_param_id id, double normalised);
    void show_all();    // what the processor has
    void hear_shown();  // give the processor what only the controller knows
    v3_result midi_assignment(std::int16_t controller, v3_param_id* id) const;
    v3_result set_handler(v3_component_handler** handler);
    void tell_news();

    // ---- what the core tells (supervisor's thread)
    void latency_changed() override {
        latency_changed_ = true;
        main_thread_.ask();
    }
    void status_changed() override {}  // process() sends it

    friend struct Tables;

    std::atomic<std::uint32_t> references_{1};
    Interface<Plugin> component_, processor_, controller_, midi_mapping_, units_, requirements_, note_expression_,
        physical_mapping_, connection_;
    v3_component_handler** handler_ = nullptr;
    std::int32_t selected_unit_ = 0;  // by the host, which may ask for it
    MainThread main_thread_;

    double sample_rate_ = 44100.0;
    std::uint32_t max_block_ = 1024;
    bool active_ = false;
    bool latency_unknown_ = false;  // set up anew, and neither asked nor activated since
    v3_speaker_arrangement input_ = V3_SPEAKER_L | V3_SPEAKER_R, output_ = V3_SPEAKER_L | V3_SPEAKER_R;

    ShownValues shown_;
    std::atomic<bool> latency_changed_{false};

    BlockEvents events_;
    ReadOuts read_outs_;

    terrain::Plugin core_;  // last: its supervisor calls us until it is gone
};

}  // namespace terrain::vst3
