// The CLAP face: translates between CLAP and core/plugin.h, and remembers only what CLAP itself asks for.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
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
#include "clap/missing.h"
#include "clap/plugin-factory.h"
#include "clap/plugin-features.h"
#include "clap/translation.h"
#include "core/plugin.h"
#include "generated/identity.h"
#include "generated/parameters.h"

namespace terrain::clap {
namespace {

constexpr std::uint32_t kMostEvents = 8192;  // translated at once; a block that has more is made in stretches

const char* kFeatures[] = {CLAP_PLUGIN_FEATURE_INSTRUMENT, CLAP_PLUGIN_FEATURE_SYNTHESIZER, CLAP_PLUGIN_FEATURE_STEREO,
                           nullptr};

const clap_plugin_descriptor_t kDescriptor = {
    CLAP_VERSION_INIT, kClapId, kPluginName, kVendor, "", "", "", kVersion, kDescription, kFeatures};

// C knows no exceptions: what cannot be done for want of memory or threads is refused.
template <typename Action>
bool attempt(Action action) {
    try {
        return action();
    } catch (const std::exception& exception) {
        bridge::log_line(std::string("refused: ") + exception.what());
        return false;
    }
}

void copy_text(char* to, std::size_t size, const std::string& text) { std::snprintf(to, size, "%s", text.c_str()); }

// A clap_plugin_t and what is behind it.
class Face final : Listener {
public:
    explicit Face(const clap_host_t* host) : host_(host), core_(*this) {
        clap.desc = &kDescriptor;
        clap.plugin_data = this;
        clap.init = [](const clap_plugin_t* plugin) { return of(plugin).init(); };
        clap.destroy = [](const clap_plugin_t* plugin) { delete &of(plugin); };
        clap.activate = [](const clap_plugin_t* plugin, double rate, std::uint32_t, std::uint32_t longest) {
            return attempt([&] { return of(plugin).activate(rate, longest); });
        };
        clap.deactivate = [](const clap_plugin_t* plugin) { of(plugin).deactivate(); };
        clap.start_processing = [](const clap_plugin_t* plugin) { return of(plugin).start_processing(); };
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
        host_log_ = host_extension<clap_host_log>(CLAP_EXT_LOG);
        return true;
    }

    bool activate(double rate, std::uint32_t longest_block) {
        expect_main_thread("activate");
        if (!core_.activate(rate, longest_block)) return false;
        sample_rate_ = rate;
        active_ = true;
        status_changed();
        latency_ = core_.latency_samples();
        if (latency_ != told_latency_) tell_latency();  // a plugin may say so here, and not while it is active
        return true;
    }

    void deactivate() {
        expect_main_thread("deactivate");
        active_ = false;
        status_changed();
        core_.deactivate();
    }

    // Of a plugin that is not active, nothing plays, though its engine may be waiting: hosts compare the values before
    // and after a short activation, and nothing but what they set may have changed.
    double value(std::uint32_t index) const {
        return kParameters[index].id == kStatus && !active_ ? static_cast<double>(Status::kOff) : core_.parameter(index);
    }

    void on_main_thread() {
        if (values_changed_.exchange(false)) tell_values();
        if (!latency_changed_.exchange(false) || told_latency_ == core_.latency_samples()) return;
        if (active_) host_->request_restart(host_);
        else tell_latency();
    }

    // While the plugin is active its latency is what it was at activation, whatever the engine has become since.
    std::uint32_t latency() { return told_latency_ = active_ ? latency_ : core_.latency_samples(); }

    void tell_latency() const {
        if (host_latency_) host_latency_->changed(host_);
    }

    void tell_values() const {
        if (host_params_) host_params_->rescan(host_, CLAP_PARAM_RESCAN_VALUES);
    }

    bool save(const clap_ostream_t& stream) {
        expect_main_thread("state.save");
        const auto bytes = core_.save_state();
        for (std::size_t at = 0; at < bytes.size();) {
            const std::int64_t written = stream.write(&stream, bytes.data() + at, bytes.size() - at);
            if (written <= 0) return false;
            at += static_cast<std::size_t>(written);
        }
        return true;
    }

    bool load(const clap_istream_t& stream) {
        expect_main_thread("state.load");
        std::vector<std::uint8_t> bytes;
        std::uint8_t part[4096];
        std::int64_t got;
        while ((got = stream.read(&stream, part, sizeof part)) > 0) {
            if (bytes.size() + static_cast<std::size_t>(got) > kLargestState) return false;
            bytes.insert(bytes.end(), part, part + got);
        }
        std::string problem;
        if (got < 0 || !core_.restore_state(bytes.data(), bytes.size(), problem)) return false;
        tell_values();
        return true;
    }

    // A host that calls from the wrong thread breaks things that show only much later: a log line helps its authors.
    void expect_main_thread(const char* function) const {
        if (host_threads_ && !host_threads_->is_main_thread(host_))
            blame_host(std::string(function) + " is called outside the main thread");
    }

    void blame_host(const std::string& deed) const {
        if (host_log_) host_log_->log(host_, CLAP_LOG_HOST_MISBEHAVING, deed.c_str());
        else bridge::log_line(std::string(host_->name ? host_->name : "the host") + ": " + deed);
    }

    // ---- audio thread ----

    bool start_processing() const {
        if (host_threads_ && !host_threads_->is_audio_thread(host_))
            blame_host("start_processing is called outside the audio thread");
        return true;
    }

    clap_process_status process(const clap_process_t& call) {
        if (!has_float_buffers(call)) return CLAP_PROCESS_ERROR;
        Stretch stretch(call);
        stretch.block.offline = offline_;
        stretch.block.deadline_ns = core_.deadline_ns(call.frames_count);
        const std::uint32_t count = call.in_events ? call.in_events->size(call.in_events) : 0;
        const std::uint32_t last = call.frames_count ? call.frames_count - 1 : 0;
        std::uint32_t time = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            const clap_event_header_t* header = call.in_events->get(call.in_events, i);
            if (!header || header->space_id != CLAP_CORE_EVENT_SPACE_ID) continue;
            time = std::clamp(header->time, time, last);  // also where a host does not sort them
            if (header->type == CLAP_EVENT_TRANSPORT) {
                if (time > stretch.begin) make(stretch, time);
                stretch.take_transport(reinterpret_cast<const clap_event_transport_t&>(*header));
            } else {
                while (event_count_ == kMostEvents) make(stretch, time);
                Event& event = events_[event_count_];
                if (!translate(*header, event)) continue;
                event.offset = time - stretch.begin;
                ++event_count_;
            }
        }
        make(stretch, call.frames_count);
        stretch.mark_silence();
        if (call.out_events) tell_read_outs(*call.out_events);
        return CLAP_PROCESS_CONTINUE;  // it may sound again with no event: a loop, or an engine that comes back
    }

    // Read-only parameters are the plugin's to say.
    void tell_read_outs(const clap_output_events_t& out) {
        read_outs_.tell(core_, [&out](std::uint32_t index, double plain) {
            clap_event_param_value_t event{};
            event.header = {sizeof event, 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE, 0};
            event.param_id = kParameters[index].id;
            event.note_id = event.port_index = event.channel = event.key = -1;
            event.value = plain;
            return out.try_push(&out, &event.header);
        });
    }

    // 64-bit buffers are not on offer.
    static bool has_float_buffers(const clap_process_t& call) {
        for (std::uint32_t i = 0; i < call.audio_outputs_count; ++i)
            if (call.audio_outputs[i].channel_count > 0 && !call.audio_outputs[i].data32) return false;
        return true;
    }

    // What is left of a host's block, from sample `begin` on. A block is made in one stretch, unless its transport
    // changes on the way.
    struct Stretch {
        explicit Stretch(const clap_process_t& call) : call(call) {
            if (call.transport) take_transport(*call.transport);
            for (std::uint32_t c = 0; call.audio_outputs_count > 0 && c < channels(call.audio_outputs[0]); ++c)
                block.outputs[c] = call.audio_outputs[0].data32[c];
            for (std::uint32_t c = 0; call.audio_inputs_count > 0 && c < channels(call.audio_inputs[0]); ++c)
                block.inputs[c] = call.audio_inputs[0].data32[c];
        }

        static std::uint32_t channels(const clap_audio_buffer_t& buffer) {
            return buffer.data32 ? std::min(buffer.channel_count, bridge::kChannels) : 0;
        }

        void take_transport(const clap_event_transport_t& clap) {
            transport = translate(clap);
            block.transport = &transport;
        }

        void advance(double sample_rate) {
            begin += block.samples;
            for (float*& output : block.outputs)
                if (output) output += block.samples;
            for (const float*& input : block.inputs)
                if (input) input += block.samples;
            transport = advanced(transport, block.samples / sample_rate);
        }

        void mark_silence() const {
            if (call.audio_outputs_count == 0) return;
            clap_audio_buffer_t& buffer = call.audio_outputs[0];
            buffer.constant_mask = silent && call.frames_count > 0 ? (1u << channels(buffer)) - 1 : 0;
        }

        const clap_process_t& call;
        AudioBlock block;
        Transport transport;
        std::uint32_t begin = 0;
        bool silent = true;
    };

    // Make the block up to `end`, with the events gathered so far; those at `end` itself wait for what comes there.
    void make(Stretch& stretch, std::uint32_t end) {
        const std::uint32_t samples = end - stretch.begin;
        const auto all = events_.begin() + event_count_;
        const auto is_inside = [samples](const Event& event) { return event.offset < samples; };
        const auto rest = samples ? std::partition_point(events_.begin(), all, is_inside) : all;
        stretch.block.samples = samples;
        stretch.block.events = events_.data();
        stretch.block.event_count = static_cast<std::uint32_t>(rest - events_.begin());
        stretch.silent = core_.process(stretch.block) && stretch.silent;
        stretch.advance(sample_rate_);
        event_count_ = static_cast<std::uint32_t>(std::move(rest, all, events_.begin()) - events_.begin());
        for (std::uint32_t i = 0; i < event_count_; ++i) events_[i].offset -= samples;
    }

    // ---- supervisor's thread; a changed status also on the main thread ----

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
        static const std::pair<const char*, const void*> table[] = {
            {CLAP_EXT_PARAMS, &kParams},         {CLAP_EXT_STATE, &kState},     {CLAP_EXT_AUDIO_PORTS, &kAudioPorts},
            {CLAP_EXT_NOTE_PORTS, &kNotePorts},  {CLAP_EXT_LATENCY, &kLatency}, {CLAP_EXT_RENDER, &kRender},
            {CLAP_EXT_TAIL, &kTail},
        };
        for (const auto& [name, pointer] : table)
            if (std::strcmp(id, name) == 0) return pointer;
        return nullptr;
    }

    static bool parameter_info(std::uint32_t index, clap_param_info_t* info) {
        if (index >= kParameterCount) return false;
        const Parameter& parameter = kParameters[index];
        *info = {};
        info->id = parameter.id;
        info->flags = parameter.read_only ? CLAP_PARAM_IS_READONLY : CLAP_PARAM_IS_AUTOMATABLE;
        if (parameter.steps) info->flags |= CLAP_PARAM_IS_STEPPED;
        if (parameter.choices) info->flags |= CLAP_PARAM_IS_ENUM;
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
            if (!header || header->space_id != CLAP_CORE_EVENT_SPACE_ID || header->type != CLAP_EVENT_PARAM_VALUE) continue;
            if (Event event; translate(*header, event)) core_.set_parameter(index_of(event.id), event.value);
        }
    }

    static const clap_plugin_params_t kParams;
    static const clap_plugin_state_t kState;
    static const clap_plugin_audio_ports_t kAudioPorts;
    static const clap_plugin_note_ports_t kNotePorts;
    static const clap_plugin_latency_t kLatency;
    static const clap_plugin_tail kTail;
    static const clap_plugin_render kRender;

    const clap_host_t* host_;
    const clap_host_params_t* host_params_ = nullptr;
    const clap_host_latency_t* host_latency_ = nullptr;
    const clap_host_thread_check_t* host_threads_ = nullptr;
    const clap_host_log* host_log_ = nullptr;
    double sample_rate_ = 0.0;
    bool active_ = false;
    std::uint32_t latency_ = 0;       // at activation
    std::uint32_t told_latency_ = 0;  // what the host knows
    std::atomic<bool> offline_{false}, values_changed_{false}, latency_changed_{false};
    std::array<Event, kMostEvents> events_{};
    std::uint32_t event_count_ = 0;
    ReadOuts read_outs_;
    Plugin core_;  // last: its supervisor calls us until it is gone
};

const clap_plugin_params_t Face::kParams = {
    [](const clap_plugin_t*) { return kParameterCount; },
    [](const clap_plugin_t*, std::uint32_t index, clap_param_info_t* info) { return parameter_info(index, info); },
    [](const clap_plugin_t* plugin, clap_id id, double* value) {
        const std::uint32_t index = index_of(id);
        if (index < kParameterCount) *value = of(plugin).value(index);
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
    [](const clap_plugin_t* plugin, const clap_ostream_t* stream) {
        return attempt([&] { return of(plugin).save(*stream); });
    },
    [](const clap_plugin_t* plugin, const clap_istream_t* stream) {
        return attempt([&] { return of(plugin).load(*stream); });
    }};

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
    [](const clap_plugin_t* plugin) { return of(plugin).latency(); }};

const clap_plugin_tail Face::kTail = {
    [](const clap_plugin_t* plugin) { return of(plugin).core_.tail_samples(); }};

const clap_plugin_render Face::kRender = {
    [](const clap_plugin_t*) { return false; },
    [](const clap_plugin_t* plugin, std::int32_t mode) {
        if (mode != CLAP_RENDER_REALTIME && mode != CLAP_RENDER_OFFLINE) return false;
        of(plugin).offline_ = mode == CLAP_RENDER_OFFLINE;
        return true;
    }};

const clap_plugin_factory_t kFactory = {
    [](const clap_plugin_factory_t*) -> std::uint32_t { return 1; },
    [](const clap_plugin_factory_t*, std::uint32_t index) { return index == 0 ? &kDescriptor : nullptr; },
    [](const clap_plugin_factory_t*, const clap_host_t* host, const char* id) -> const clap_plugin_t* {
        if (!host || !clap_version_is_compatible(host->clap_version) || std::strcmp(id, kClapId) != 0) return nullptr;
        Face* face = nullptr;
        attempt([&] { return (face = new Face(host)) != nullptr; });
        return face ? &face->clap : nullptr;
    }};

}  // namespace
}  // namespace terrain::clap

extern "C" __attribute__((visibility("default"))) const clap_plugin_entry_t clap_entry = {
    CLAP_VERSION_INIT, [](const char*) { return true; }, [] {},
    [](const char* id) -> const void* {
        return std::strcmp(id, CLAP_PLUGIN_FACTORY_ID) == 0 ? &terrain::clap::kFactory : nullptr;
    }};
