// The CLAP face: translates between CLAP and core/plugin.h, and remembers only what CLAP itself asks for.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bridge/log.h"
#include "clap/entry.h"
#include "clap/events.h"
#include "clap/ext/audio-ports.h"
#include "clap/ext/latency.h"
#include "clap/ext/note-ports.h"
#include "clap/ext/params.h"
#include "clap/ext/state.h"
#include "clap/ext/thread-check.h"
#include "clap/more_extensions.h"
#include "clap/plugin-factory.h"
#include "clap/plugin-features.h"
#include "core/plugin.h"
#include "generated/identity.h"
#include "generated/parameters.h"

namespace terrain {
namespace {

constexpr std::uint32_t kMostEvents = 8192;  // translated at once; a block that has more is made in stretches

const char* kFeatures[] = {CLAP_PLUGIN_FEATURE_INSTRUMENT, CLAP_PLUGIN_FEATURE_SYNTHESIZER,
                                 CLAP_PLUGIN_FEATURE_STEREO, nullptr};

const clap_plugin_descriptor_t kDescriptor = {
    CLAP_VERSION_INIT, kClapId, kPluginName, kVendor, "", "", "", kVersion, kDescription, kFeatures};

void copy_text(char* to, std::size_t size, const std::string& text) { std::snprintf(to, size, "%s", text.c_str()); }

double beats(clap_beattime time) { return static_cast<double>(time) / static_cast<double>(CLAP_BEATTIME_FACTOR); }
double seconds(clap_sectime time) { return static_cast<double>(time) / static_cast<double>(CLAP_SECTIME_FACTOR); }

Transport translated(const clap_event_transport_t& from) {
    Transport to;
    const auto has = [&from](std::uint32_t flag) { return (from.flags & flag) != 0; };
    if (has(CLAP_TRANSPORT_IS_PLAYING)) to.flags |= bridge::kPlaying;
    if (has(CLAP_TRANSPORT_IS_RECORDING)) to.flags |= bridge::kRecording;
    if (has(CLAP_TRANSPORT_IS_LOOP_ACTIVE)) to.flags |= bridge::kCycle;
    if (has(CLAP_TRANSPORT_HAS_TEMPO)) to.flags |= bridge::kHasBpm;
    if (has(CLAP_TRANSPORT_HAS_BEATS_TIMELINE)) to.flags |= bridge::kHasBeat | bridge::kHasBar | bridge::kHasCycle;
    if (has(CLAP_TRANSPORT_HAS_SECONDS_TIMELINE)) to.flags |= bridge::kHasSeconds;
    if (has(CLAP_TRANSPORT_HAS_TIME_SIGNATURE)) to.flags |= bridge::kHasMeter;
    to.beat = beats(from.song_pos_beats);
    to.seconds = seconds(from.song_pos_seconds);
    to.bpm = from.tempo;
    to.bar_beat = beats(from.bar_start);
    to.bar = from.bar_number;
    to.cycle_begin = beats(from.loop_start_beats);
    to.cycle_end = beats(from.loop_end_beats);
    to.meter_numerator = from.tsig_num;
    to.meter_denominator = from.tsig_denom;
    return to;
}

// CLAP's note expressions as ours; 0 for those that mean nothing here.
std::uint32_t expression_id(clap_note_expression expression) {
    using bridge::NoteExpression;
    switch (expression) {
        case CLAP_NOTE_EXPRESSION_TUNING: return static_cast<std::uint32_t>(NoteExpression::kTuning);
        case CLAP_NOTE_EXPRESSION_PRESSURE: return static_cast<std::uint32_t>(NoteExpression::kPressure);
        case CLAP_NOTE_EXPRESSION_BRIGHTNESS: return static_cast<std::uint32_t>(NoteExpression::kBrightness);
        case CLAP_NOTE_EXPRESSION_VOLUME: return static_cast<std::uint32_t>(NoteExpression::kVolume);
        case CLAP_NOTE_EXPRESSION_PAN: return static_cast<std::uint32_t>(NoteExpression::kPan);
        default: return 0;
    }
}

template <typename ClapEvent>
const ClapEvent& as(const clap_event_header_t& header) {
    return reinterpret_cast<const ClapEvent&>(header);
}

// Whether a parameter event is for the parameter itself and not for one note.
bool is_global(const clap_event_param_value_t& event) {
    return event.note_id == -1 && event.channel == -1 && event.key == -1;
}

// CLAP's event as the bridge's; false for what means nothing here.
bool translate(const clap_event_header_t& header, Event& to) {
    using bridge::EventKind;
    to = Event{};
    to.offset = header.time;
    to.note_id = to.key = to.channel = -1;
    const auto note = [&to, &header](EventKind kind) {
        const auto& from = as<clap_event_note_t>(header);
        to.kind = static_cast<std::uint16_t>(kind);
        to.note_id = from.note_id;
        to.key = from.key;
        to.channel = from.channel;
        to.value = from.velocity;
        return true;
    };
    switch (header.type) {
        case CLAP_EVENT_NOTE_ON: return note(EventKind::kNoteOn);
        case CLAP_EVENT_NOTE_OFF: return note(EventKind::kNoteOff);
        case CLAP_EVENT_NOTE_CHOKE: return note(EventKind::kNoteChoke);
        case CLAP_EVENT_NOTE_EXPRESSION: {
            const auto& from = as<clap_event_note_expression_t>(header);
            to.kind = static_cast<std::uint16_t>(EventKind::kNoteExpression);
            to.id = expression_id(from.expression_id);
            to.note_id = from.note_id;
            to.key = from.key;
            to.channel = from.channel;
            to.value = from.value;
            return to.id != 0;
        }
        case CLAP_EVENT_PARAM_VALUE: {
            const auto& from = as<clap_event_param_value_t>(header);
            to.kind = static_cast<std::uint16_t>(EventKind::kParameter);
            to.id = from.param_id;
            to.value = from.value;
            return is_global(from);
        }
        case CLAP_EVENT_MIDI: {
            const auto& from = as<clap_event_midi_t>(header);
            const int kind = from.data[0] & 0xF0;
            constexpr int kProgram = 0xC0, kChannelPressure = 0xD0, kSystem = 0xF0;
            to.kind = static_cast<std::uint16_t>(EventKind::kMidi);
            to.size = kind == kProgram || kind == kChannelPressure ? 2 : 3;
            std::copy_n(from.data, 3, to.data);
            return kind >= 0x80 && kind < kSystem;
        }
        default: return false;
    }
}

// A clap_plugin_t and what is behind it.
class Face final : Listener {
public:
    explicit Face(const clap_host_t* host) : host_(host), core_(*this) {
        clap.desc = &kDescriptor;
        clap.plugin_data = this;
        clap.init = [](const clap_plugin_t* plugin) { return of(plugin).init(); };
        clap.destroy = [](const clap_plugin_t* plugin) { delete &of(plugin); };
        clap.activate = [](const clap_plugin_t* plugin, double rate, std::uint32_t, std::uint32_t longest) {
            return of(plugin).activate(rate, longest);
        };
        clap.deactivate = [](const clap_plugin_t* plugin) { of(plugin).deactivate(); };
        clap.start_processing = [](const clap_plugin_t*) { return true; };
        clap.stop_processing = [](const clap_plugin_t*) {};
        clap.reset = [](const clap_plugin_t* plugin) { of(plugin).core_.reset(); };
        clap.process = [](const clap_plugin_t* plugin, const clap_process_t* process) {
            return of(plugin).process(*process);
        };
        clap.get_extension = [](const clap_plugin_t*, const char* id) { return extension(id); };
        clap.on_main_thread = [](const clap_plugin_t* plugin) { of(plugin).on_main_thread(); };
    }

    clap_plugin_t clap{};

private:
    static Face& of(const clap_plugin_t* plugin) { return *static_cast<Face*>(plugin->plugin_data); }

    template <typename Extension>
    const Extension* host_extension(const char* id) const {
        return static_cast<const Extension*>(host_->get_extension(host_, id));
    }

    // ---- main thread ----

    bool init() {
        host_params_ = host_extension<clap_host_params_t>(CLAP_EXT_PARAMS);
        host_latency_ = host_extension<clap_host_latency_t>(CLAP_EXT_LATENCY);
        host_threads_ = host_extension<clap_host_thread_check_t>(CLAP_EXT_THREAD_CHECK);
        return true;
    }

    bool activate(double rate, std::uint32_t longest_block) {
        expect_main_thread("activate");
        events_.resize(kMostEvents);
        if (!core_.activate(rate, longest_block)) return false;
        rate_ = rate;
        active_ = true;
        if (core_.latency_samples() != reported_latency_) {
            reported_latency_ = core_.latency_samples();
            if (host_latency_) host_latency_->changed(host_);  // only here may a plugin say so
        }
        return true;
    }

    void deactivate() {
        expect_main_thread("deactivate");
        active_ = false;
        core_.deactivate();
    }

    void on_main_thread() {
        if (values_changed_.exchange(false) && host_params_)
            host_params_->rescan(host_, CLAP_PARAM_RESCAN_VALUES);
        if (latency_changed_.exchange(false) && active_ && core_.latency_samples() != reported_latency_)
            host_->request_restart(host_);
    }

    bool save(const clap_ostream_t* stream) {
        expect_main_thread("state.save");
        const auto bytes = core_.save_state();
        for (std::size_t at = 0; at < bytes.size();) {
            const std::int64_t written = stream->write(stream, bytes.data() + at, bytes.size() - at);
            if (written <= 0) return false;
            at += static_cast<std::size_t>(written);
        }
        return true;
    }

    bool load(const clap_istream_t* stream) {
        expect_main_thread("state.load");
        std::vector<std::uint8_t> bytes;
        std::uint8_t part[4096];
        std::int64_t got;
        while ((got = stream->read(stream, part, sizeof part)) > 0) {
            if (bytes.size() + static_cast<std::size_t>(got) > kLargestState) return false;
            bytes.insert(bytes.end(), part, part + got);
        }
        std::string problem;
        if (got < 0 || !core_.restore_state(bytes.data(), bytes.size(), problem)) return false;
        if (host_params_) host_params_->rescan(host_, CLAP_PARAM_RESCAN_VALUES);
        return true;
    }

    // A host that calls from the wrong thread breaks things that show only much later: its log line helps its authors.
    void expect_main_thread(const char* function) const {
        if (host_threads_ && !host_threads_->is_main_thread(host_))
            bridge::log_line(std::string(host_->name ? host_->name : "the host") + " calls " + function +
                             " outside its main thread");
    }

    // ---- audio thread ----

    clap_process_status process(const clap_process_t& process) {
        Stretch stretch(process);
        stretch.block.offline = offline_;
        if (process.transport) stretch.take_transport(*process.transport);
        const std::uint32_t count = process.in_events ? process.in_events->size(process.in_events) : 0;
        bool silent = true;
        event_count_ = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            const clap_event_header_t* header = process.in_events->get(process.in_events, i);
            if (!header || header->space_id != CLAP_CORE_EVENT_SPACE_ID) continue;
            const bool new_transport = header->type == CLAP_EVENT_TRANSPORT;
            if (new_transport || event_count_ == kMostEvents) silent = make(stretch, header->time) && silent;
            if (new_transport) stretch.take_transport(as<clap_event_transport_t>(*header));
            else if (translate(*header, events_[event_count_])) events_[event_count_++].offset = stretch.in(header->time);
        }
        if (stretch.begin < process.frames_count || event_count_ > 0)
            silent = make(stretch, process.frames_count) && silent;
        stretch.mark_silence(silent);
        return CLAP_PROCESS_CONTINUE;
    }

    // What is left of a block, from `begin` on.
    struct Stretch {
        explicit Stretch(const clap_process_t& process) : process(process) {
            if (process.audio_outputs_count > 0) {
                const auto& out = process.audio_outputs[0];
                for (std::uint32_t c = 0; c < 2 && c < out.channel_count && out.data32; ++c)
                    block.outputs[c] = out.data32[c];
            }
            if (process.audio_inputs_count > 0) {
                const auto& in = process.audio_inputs[0];
                for (std::uint32_t c = 0; c < 2 && in.data32 && in.channel_count > 0; ++c)
                    block.inputs[c] = in.data32[std::min(c, in.channel_count - 1)];
            }
        }

        std::uint32_t in(std::uint32_t time) const { return time > begin ? time - begin : 0; }

        void take_transport(const clap_event_transport_t& event) {
            transport = translated(event);
            block.transport = &transport;
        }

        // Go on behind what was made.
        void advance(std::uint32_t samples, double rate) {
            begin += samples;
            for (int c = 0; c < 2; ++c) {
                if (block.inputs[c]) block.inputs[c] += samples;
                if (block.outputs[c]) block.outputs[c] += samples;
            }
            if (!(transport.flags & bridge::kPlaying)) return;
            transport.seconds += samples / rate;
            transport.beat += samples / rate * transport.bpm / 60.0;
        }

        void mark_silence(bool silent) const {
            if (process.audio_outputs_count > 0)
                process.audio_outputs[0].constant_mask = silent && process.frames_count > 0 ? 0b11 : 0;
        }

        const clap_process_t& process;
        AudioBlock block;
        Transport transport;
        std::uint32_t begin = 0;
    };

    // Make the block up to `end`, with the events gathered so far.
    bool make(Stretch& stretch, std::uint32_t end) {
        end = std::min(end, stretch.process.frames_count);
        stretch.block.samples = end > stretch.begin ? end - stretch.begin : 0;
        stretch.block.events = events_.data();
        stretch.block.event_count = event_count_;
        if (stretch.block.samples == 0 && event_count_ < kMostEvents && end < stretch.process.frames_count)
            return true;  // the events wait for the samples after them
        const bool silent = core_.process(stretch.block);
        stretch.advance(stretch.block.samples, rate_);
        event_count_ = 0;
        return silent;
    }

    // ---- supervisor's thread ----

    void latency_changed() override {
        latency_changed_ = true;
        host_->request_callback(host_);
    }
    void status_changed() override {
        values_changed_ = true;
        host_->request_callback(host_);
    }

    // ---- extensions ----

    static const void* extension(const char* id) {
        if (!std::strcmp(id, CLAP_EXT_PARAMS)) return &kParams;
        if (!std::strcmp(id, CLAP_EXT_STATE)) return &kState;
        if (!std::strcmp(id, CLAP_EXT_AUDIO_PORTS)) return &kAudioPorts;
        if (!std::strcmp(id, CLAP_EXT_NOTE_PORTS)) return &kNotePorts;
        if (!std::strcmp(id, CLAP_EXT_LATENCY)) return &kLatency;
        if (!std::strcmp(id, kClapExtRender)) return &kRender;
        if (!std::strcmp(id, kClapExtTail)) return &kTail;
        return nullptr;
    }

    static bool parameter_info(std::uint32_t index, clap_param_info_t* info) {
        if (index >= kParameterCount) return false;
        const Parameter& parameter = kParameters[index];
        *info = {};
        info->id = parameter.id;
        info->flags = parameter.read_only ? CLAP_PARAM_IS_READONLY : CLAP_PARAM_IS_AUTOMATABLE;
        if (parameter.steps) info->flags |= CLAP_PARAM_IS_STEPPED;
        if (parameter.id == kBypass) info->flags |= CLAP_PARAM_IS_BYPASS;
        copy_text(info->name, sizeof info->name, parameter.name);
        copy_text(info->module, sizeof info->module, parameter.group);
        info->min_value = parameter.low;
        info->max_value = parameter.high;
        info->default_value = parameter.initial;
        return true;
    }

    static bool value_to_text(clap_id id, double value, char* display, std::uint32_t size) {
        const std::uint32_t index = index_of(id);
        if (index == kParameterCount) return false;
        copy_text(display, size, text(kParameters[index], value));
        return true;
    }

    static bool text_to_value(clap_id id, const char* display, double* value) {
        const std::uint32_t index = index_of(id);
        return index < kParameterCount && parse(kParameters[index], display, *value);
    }

    // Either thread, while process() does not run.
    void flush(const clap_input_events_t* in) {
        for (std::uint32_t i = 0; i < in->size(in); ++i) {
            const clap_event_header_t* header = in->get(in, i);
            if (header->space_id != CLAP_CORE_EVENT_SPACE_ID || header->type != CLAP_EVENT_PARAM_VALUE) continue;
            const auto& event = as<clap_event_param_value_t>(*header);
            if (is_global(event)) core_.set_parameter(index_of(event.param_id), event.value);
        }
    }

    static const clap_plugin_params_t kParams;
    static const clap_plugin_state_t kState;
    static const clap_plugin_audio_ports_t kAudioPorts;
    static const clap_plugin_note_ports_t kNotePorts;
    static const clap_plugin_latency_t kLatency;
    static const ClapPluginTail kTail;
    static const ClapPluginRender kRender;

    const clap_host_t* host_;
    const clap_host_params_t* host_params_ = nullptr;
    const clap_host_latency_t* host_latency_ = nullptr;
    const clap_host_thread_check_t* host_threads_ = nullptr;
    double rate_ = 0.0;
    bool active_ = false;
    std::uint32_t reported_latency_ = 0;
    std::atomic<bool> offline_{false}, values_changed_{false}, latency_changed_{false};
    std::vector<Event> events_;
    std::uint32_t event_count_ = 0;
    Plugin core_;  // last: its supervisor calls us until it is gone
};

const clap_plugin_params_t Face::kParams = {
    [](const clap_plugin_t*) { return kParameterCount; },
    [](const clap_plugin_t*, std::uint32_t index, clap_param_info_t* info) { return parameter_info(index, info); },
    [](const clap_plugin_t* plugin, clap_id id, double* value) {
        const std::uint32_t index = index_of(id);
        if (index < kParameterCount) *value = of(plugin).core_.parameter(index);
        return index < kParameterCount;
    },
    [](const clap_plugin_t*, clap_id id, double value, char* display, std::uint32_t size) {
        return value_to_text(id, value, display, size);
    },
    [](const clap_plugin_t*, clap_id id, const char* display, double* value) {
        return text_to_value(id, display, value);
    },
    [](const clap_plugin_t* plugin, const clap_input_events_t* in, const clap_output_events_t*) {
        of(plugin).flush(in);
    }};

const clap_plugin_state_t Face::kState = {
    [](const clap_plugin_t* plugin, const clap_ostream_t* stream) { return of(plugin).save(stream); },
    [](const clap_plugin_t* plugin, const clap_istream_t* stream) { return of(plugin).load(stream); }};

const clap_plugin_audio_ports_t Face::kAudioPorts = {
    [](const clap_plugin_t*, bool) -> std::uint32_t { return 1; },
    [](const clap_plugin_t*, std::uint32_t index, bool is_input, clap_audio_port_info_t* info) {
        if (index != 0) return false;
        *info = {};
        info->id = is_input ? 1 : 0;
        copy_text(info->name, sizeof info->name, is_input ? "Audio In" : "Out");
        info->flags = is_input ? 0 : CLAP_AUDIO_PORT_IS_MAIN;
        info->channel_count = 2;
        info->port_type = CLAP_PORT_STEREO;
        info->in_place_pair = is_input ? 0 : 1;
        return true;
    }};

const clap_plugin_note_ports_t Face::kNotePorts = {
    [](const clap_plugin_t*, bool is_input) -> std::uint32_t { return is_input ? 1 : 0; },
    [](const clap_plugin_t*, std::uint32_t index, bool is_input, clap_note_port_info_t* info) {
        if (index != 0 || !is_input) return false;
        *info = {};
        info->id = 0;
        info->supported_dialects = CLAP_NOTE_DIALECT_CLAP | CLAP_NOTE_DIALECT_MIDI | CLAP_NOTE_DIALECT_MIDI_MPE;
        info->preferred_dialect = CLAP_NOTE_DIALECT_CLAP;
        copy_text(info->name, sizeof info->name, "Notes");
        return true;
    }};

const clap_plugin_latency_t Face::kLatency = {
    [](const clap_plugin_t* plugin) { return of(plugin).core_.latency_samples(); }};

const ClapPluginTail Face::kTail = {
    [](const clap_plugin_t* plugin) { return of(plugin).core_.tail_samples(); }};

const ClapPluginRender Face::kRender = {
    [](const clap_plugin_t*) { return false; },
    [](const clap_plugin_t* plugin, std::int32_t mode) {
        if (mode != kClapRenderRealtime && mode != kClapRenderOffline) return false;
        of(plugin).offline_ = mode == kClapRenderOffline;
        return true;
    }};

const clap_plugin_factory_t kFactory = {
    [](const clap_plugin_factory_t*) -> std::uint32_t { return 1; },
    [](const clap_plugin_factory_t*, std::uint32_t index) { return index == 0 ? &kDescriptor : nullptr; },
    [](const clap_plugin_factory_t*, const clap_host_t* host, const char* id) -> const clap_plugin_t* {
        if (!host || !clap_version_is_compatible(host->clap_version) || std::strcmp(id, kClapId) != 0) return nullptr;
        return &(new Face(host))->clap;
    }};

}  // namespace
}  // namespace terrain

extern "C" __attribute__((visibility("default"))) const clap_plugin_entry_t clap_entry = {
    CLAP_VERSION_INIT, [](const char*) { return true; }, [] {},
    [](const char* id) -> const void* {
        return std::strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &terrain::kFactory : nullptr;
    }};
