// VST3's process context in the words of core/plugin.h.
#pragma once

#include <cstdint>

#include "core/plugin.h"
#include "vst3/interfaces.h"

namespace terrain::vst3 {

// Whether the host says anything about time: pedalboard, for one, hands over a context with a sample rate and no more.
inline bool has_transport(const v3_process_context* context) {
    constexpr std::uint32_t kAnything = V3_PROCESS_CTX_PLAYING | V3_PROCESS_CTX_PROJECT_TIME_VALID |
                                        V3_PROCESS_CTX_TEMPO_VALID | V3_PROCESS_CTX_CONT_TIME_VALID;
    return context && (context->state & kAnything || context->project_time_in_samples != 0);
}

inline Transport translate(const v3_process_context& from) {
    constexpr struct {
        std::uint32_t theirs, ours;
    } kFlags[] = {
        {V3_PROCESS_CTX_PLAYING, bridge::kPlaying},
        {V3_PROCESS_CTX_RECORDING, bridge::kRecording},
        {V3_PROCESS_CTX_CYCLE_ACTIVE, bridge::kCycle},
        {V3_PROCESS_CTX_PROJECT_TIME_VALID, bridge::kHasBeat},
        {V3_PROCESS_CTX_TEMPO_VALID, bridge::kHasBpm},
        {V3_PROCESS_CTX_BAR_POSITION_VALID, bridge::kHasBar},
        {V3_PROCESS_CTX_TIME_SIG_VALID, bridge::kHasMeter},
        {V3_PROCESS_CTX_CYCLE_VALID, bridge::kHasCycle},
    };
    Transport to;
    to.flags = bridge::kHasTransport;
    for (const auto& row : kFlags)
        if (from.state & row.theirs) to.flags |= row.ours;
    if (from.sample_rate > 0) {  // the position in samples needs no flag: it is always there
        to.flags |= bridge::kHasSeconds;
        to.seconds = static_cast<double>(from.project_time_in_samples) / from.sample_rate;
    }
    to.beat = from.project_time_quarters;
    to.bpm = from.bpm;
    to.bar_beat = from.bar_position_quarters;
    to.cycle_begin = from.cycle_start_quarters;
    to.cycle_end = from.cycle_end_quarters;
    to.meter_numerator = static_cast<std::uint16_t>(from.time_sig_numerator);
    to.meter_denominator = static_cast<std::uint16_t>(from.time_sig_denom);
    return to;  // VST3 does not number bars: `bar` stays 0
}

}  // namespace terrain::vst3
