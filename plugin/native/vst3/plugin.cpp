#include "vst3/plugin.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "bridge/log.h"
#include "generated/identity.h"
#include "vst3/expressions.h"
#include "vst3/text.h"
#include "vst3/transport.h"

namespace terrain::vst3 {
namespace {

constexpr std::int32_t kChannels = 16;

template <typename Table>
const v3_funknown* as_unknown(const Table& table) {
    return static_cast<const v3_funknown*>(&table);
}

// C knows no exceptions: what cannot be done for want of memory or threads is refused.
template <typename Action>
v3_result attempt(Action action) {
    try {
        return action();
    } catch (const std::exception& exception) {
        bridge::log_line(std::string("refused: ") + exception.what());
        return V3_INTERNAL_ERR;
    }
}

// Groups become units: the root has the id 0, they follow in the order in which the table first names them.
struct Units {
    std::vector<std::string> names;
    Units() {
        for (const Parameter& parameter : kParameters)
            if (id_of(parameter.group) == 0) names.emplace_back(parameter.group);
    }
    std::int32_t id_of(const char* group) const {
        const auto found = std::find(names.begin(), names.end(), group);
        return found == names.end() ? 0 : static_cast<std::int32_t>(found - names.begin()) + 1;
    }
};

const Units& units() {
    static const Units all;
    return all;
}

bool is_stereo(v3_speaker_arrangement arrangement) { return arrangement == (V3_SPEAKER_L | V3_SPEAKER_R); }
std::int32_t channels_in(v3_speaker_arrangement arrangement) { return is_stereo(arrangement) ? 2 : 1; }
bool is_playable(v3_speaker_arrangement arrangement) { return is_stereo(arrangement) || arrangement == V3_SPEAKER_M; }

// A bus that a host left out, or left without memory, has no channels.
std::int32_t channels_of(const v3_audio_bus_buffers* buses, std::int32_t bus_count) {
    return bus_count > 0 && buses && buses[0].channel_buffers_32 ? buses[0].num_channels : 0;
}

}  // namespace

// The tables of functions that hosts call; each passes on to a member of Plugin.
struct Tables {
    static Plugin& of(void* self) { return object_of<Plugin>(self); }

    static v3_result V3_API query(void* self, const v3_tuid iid, void** found) { return of(self).query(iid, found); }
    static std::uint32_t V3_API ref(void* self) { return ++of(self).references_; }
    static std::uint32_t V3_API unref(void* self) { return of(self).release(); }
    static v3_result V3_API initialize(void* self, v3_funknown** host) { return of(self).initialize(host); }
    static v3_result V3_API terminate(void* self) { return of(self).terminate(); }

    template <typename Table>
    static Table with_unknown() {
        Table table{};
        table.query_interface = query;
        table.ref = ref;
        table.unref = unref;
        return table;
    }

    static v3_component_cpp component() {
        auto table = with_unknown<v3_component_cpp>();
        table.base = {initialize, terminate};
        table.comp.get_controller_class_id = [](void*, v3_tuid) -> v3_result {
            return V3_NOT_IMPLEMENTED;  // there is none to be made: ask this object for its controller
        };
        table.comp.set_io_mode = [](void*, std::int32_t) -> v3_result { return V3_NOT_IMPLEMENTED; };
        table.comp.get_bus_count = [](void*, std::int32_t media, std::int32_t direction) -> std::int32_t {
            return media == V3_AUDIO || (media == V3_EVENT && direction == V3_INPUT) ? 1 : 0;
        };
        table.comp.get_bus_info = [](void* self, std::int32_t media, std::int32_t direction, std::int32_t index,
                                     v3_bus_info* info) { return of(self).bus_info(media, direction, index, info); };
        table.comp.get_routing_info = [](void*, v3_routing_info*, v3_routing_info*) -> v3_result {
            return V3_NOT_IMPLEMENTED;
        };
        table.comp.activate_bus = [](void* self, std::int32_t media, std::int32_t direction, std::int32_t index,
                                     v3_bool) -> v3_result {
            v3_bus_info info;
            return of(self).bus_info(media, direction, index, &info);
        };
        table.comp.set_active = [](void* self, v3_bool active) {
            return attempt([&] { return of(self).set_active(active); });
        };
        table.comp.set_state = [](void* self, v3_bstream** stream) {
            return attempt([&] { return of(self).set_state(stream); });
        };
        table.comp.get_state = [](void* self, v3_bstream** stream) {
            return attempt([&] { return of(self).get_state(stream); });
        };
        return table;
    }

    static v3_audio_processor_cpp processor() {
        auto table = with_unknown<v3_audio_processor_cpp>();
        table.proc.set_bus_arrangements = [](void* self, v3_speaker_arrangement* inputs, std::int32_t input_count,
                                             v3_speaker_arrangement* outputs, std::int32_t output_count) {
            return of(self).set_arrangements(inputs, input_count, outputs, output_count);
        };
        table.proc.get_bus_arrangement = [](void* self, std::int32_t direction, std::int32_t index,
                                            v3_speaker_arrangement* found) {
            return of(self).arrangement(direction, index, found);
        };
        table.proc.can_process_sample_size = [](void*, std::int32_t size) -> v3_result {
            return size == V3_SAMPLE_32 ? V3_TRUE : V3_FALSE;
        };
        table.proc.get_latency_samples = [](void* self) { return of(self).latency(); };
        table.proc.setup_processing = [](void* self, v3_process_setup* setup) { return of(self).setup(*setup); };
        table.proc.set_processing = [](void* self, v3_bool processing) -> v3_result {
            if (processing) of(self).core_.reset();
            return V3_OK;
        };
        table.proc.process = [](void* self, v3_process_data* data) { return of(self).process(*data); };
        table.proc.get_tail_samples = [](void* self) { return of(self).core_.tail_samples(); };
        return table;
    }

    static v3_edit_controller_cpp controller() {
        auto table = with_unknown<v3_edit_controller_cpp>();
        table.base = {initialize, terminate};
        table.ctrl.set_component_state = [](void* self, v3_bstream**) { return of(self).take_component_state(); };
        table.ctrl.set_state = [](void*, v3_bstream**) -> v3_result { return V3_OK; };
        table.ctrl.get_state = [](void*, v3_bstream**) -> v3_result { return V3_OK; };
        table.ctrl.get_parameter_count = [](void*) -> std::int32_t { return kParameterCount; };
        table.ctrl.get_parameter_info = [](void* self, std::int32_t index, v3_param_info* info) {
            return of(self).parameter_info(index, info);
        };
        table.ctrl.get_parameter_string_for_value = [](void*, v3_param_id id, double normalised,
                                                       v3_str_128 output) -> v3_result {
            const std::uint32_t index = index_of(id);
            if (index == kParameterCount) return V3_INVALID_ARG;
            write_text(text(kParameters[index], from_normalised(kParameters[index], normalised)), output, 128);
            return V3_OK;
        };
        table.ctrl.get_parameter_value_for_string = [](void*, v3_param_id id, std::int16_t* input,
                                                       double* normalised) -> v3_result {
            const std::uint32_t index = index_of(id);
            double plain;
            if (index == kParameterCount || !parse(kParameters[index], read_text(input), plain)) return V3_FALSE;
            *normalised = to_normalised(kParameters[index], plain);
            return V3_OK;
        };
        table.ctrl.normalised_parameter_to_plain = [](void*, v3_param_id id, double normalised) {
            const std::uint32_t index = index_of(id);
            return index < kParameterCount ? from_normalised(kParameters[index], normalised) : normalised;
        };
        table.ctrl.plain_parameter_to_normalised = [](void*, v3_param_id id, double plain) {
            const std::uint32_t index = index_of(id);
            return index < kParameterCount ? to_normalised(kParameters[index], plain) : plain;
        };
        table.ctrl.get_parameter_normalised = [](void* self, v3_param_id id) { return of(self).shown(id); };
        table.ctrl.set_parameter_normalised = [](void* self, v3_param_id id, double normalised) {
            return of(self).show(id, normalised);
        };
        table.ctrl.set_component_handler = [](void* self, v3_component_handler** handler) {
            return of(self).set_handler(handler);
        };
        table.ctrl.create_view = [](void*, const char*) -> v3_plugin_view** { return nullptr; };
        return table;
    }

    static v3_midi_mapping_cpp midi_mapping() {
        auto table = with_unknown<v3_midi_mapping_cpp>();
        table.map.get_midi_controller_assignment = [](void* self, std::int32_t bus, std::int16_t channel,
                                                      std::int16_t controller, v3_param_id* id) -> v3_result {
            if (bus != 0 || channel < 0 || channel >= kChannels) return V3_FALSE;
            return of(self).midi_assignment(controller, id);
        };
        return table;
    }

    static v3_unit_information_cpp units_table() {
        auto table = with_unknown<v3_unit_information_cpp>();
        v3_unit_information& unit = table.unit;
        unit.get_unit_count = [](void*) { return static_cast<std::int32_t>(units().names.size()) + 1; };
        unit.get_unit_info = [](void*, std::int32_t index, v3_unit_info* info) -> v3_result {
            constexpr std::int32_t kNoParent = -1, kNoProgramList = -1;
            if (index < 0 || index > static_cast<std::int32_t>(units().names.size())) return V3_INVALID_ARG;
            *info = {index, index == 0 ? kNoParent : 0, {}, kNoProgramList};
            write_text(index == 0 ? "Root" : units().names[static_cast<std::size_t>(index) - 1], info->name);
            return V3_OK;
        };
        unit.get_program_list_count = [](void*) -> std::int32_t { return 0; };
        unit.get_program_list_info = [](void*, std::int32_t, v3_program_list_info*) -> v3_result { return V3_FALSE; };
        unit.get_program_name = [](void*, std::int32_t, std::int32_t, v3_str_128) -> v3_result { return V3_FALSE; };
        unit.get_program_info = [](void*, std::int32_t, std::int32_t, const char*, v3_str_128) -> v3_result {
            return V3_FALSE;
        };
        unit.has_program_pitch_names = [](void*, std::int32_t, std::int32_t) -> v3_result { return V3_FALSE; };
        unit.get_program_pitch_name = [](void*, std::int32_t, std::int32_t, std::int16_t, v3_str_128) -> v3_result {
            return V3_FALSE;
        };
        unit.get_selected_unit = [](void* self) -> std::int32_t { return of(self).selected_unit_; };
        unit.select_unit = [](void* self, std::int32_t id) -> v3_result {
            if (id < 0 || id > static_cast<std::int32_t>(units().names.size())) return V3_INVALID_ARG;
            of(self).selected_unit_ = id;
            return V3_OK;
        };
        unit.get_unit_by_bus = [](void*, std::int32_t, std::int32_t, std::int32_t, std::int32_t,
                                  std::int32_t* id) -> v3_result {
            *id = 0;
            return V3_OK;
        };
        unit.set_unit_program_data = [](void*, std::int32_t, std::int32_t, v3_bstream**) -> v3_result {
            return V3_NOT_IMPLEMENTED;
        };
        return table;
    }

    static v3_process_context_requirements_cpp requirements() {
        auto table = with_unknown<v3_process_context_requirements_cpp>();
        table.req.get_process_context_requirements = [](void*) -> std::uint32_t {
            return V3_PROCESS_CTX_NEED_PROJECT_TIME | V3_PROCESS_CTX_NEED_BAR_POSITION | V3_PROCESS_CTX_NEED_CYCLE |
                   V3_PROCESS_CTX_NEED_TEMPO | V3_PROCESS_CTX_NEED_TIME_SIG | V3_PROCESS_CTX_NEED_TRANSPORT_STATE;
        };
        return table;
    }

    static NoteExpressionTable note_expression() {
        auto table = with_unknown<NoteExpressionTable>();
        table.count = [](void*, std::int32_t bus, std::int16_t) { return bus == 0 ? kExpressionCount : 0; };
        table.info = [](void*, std::int32_t bus, std::int16_t, std::int32_t index,
                        NoteExpressionInfo* info) -> v3_result {
            if (bus != 0 || index < 0 || index >= kExpressionCount) return V3_INVALID_ARG;
            const Expression& row = kExpressions[index];
            *info = {};
            info->type = row.type;
            write_text(row.title, info->title);
            write_text(row.title, info->short_title);
            write_text(row.unit, info->units);
            info->initial = row.initial;
            info->high = 1.0;
            info->associated_parameter = row.parameter;
            info->flags = row.flags | kHasAssociatedParameter;
            return V3_OK;
        };
        table.text = [](void*, std::int32_t, std::int16_t, std::uint32_t type, double value,
                        v3_str_128 output) -> v3_result {
            const Expression* row = expression_of(type);
            if (!row) return V3_INVALID_ARG;
            write_text(terrain::text(as_parameter(*row), plain_value(*row, value)), output, 128);
            return V3_OK;
        };
        table.parse = [](void*, std::int32_t, std::int16_t, std::uint32_t type, const std::int16_t* input,
                         double* value) -> v3_result {
            const Expression* row = expression_of(type);
            double plain;
            if (!row || !terrain::parse(as_parameter(*row), read_text(input), plain)) return V3_INVALID_ARG;
            *value = to_normalised(as_parameter(*row), plain);
            return V3_OK;
        };
        return table;
    }

    static PhysicalMappingTable physical_mapping() {
        auto table = with_unknown<PhysicalMappingTable>();
        table.map = [](void*, std::int32_t bus, std::int16_t, PhysicalMapList* list) -> v3_result {
            if (bus != 0) return V3_INVALID_ARG;
            for (std::uint32_t i = 0; i < list->count; ++i)
                for (const Expression& row : kExpressions)
                    if (row.controller == list->maps[i].controller) list->maps[i].expression = row.type;
            return V3_OK;
        };
        return table;
    }

    static v3_connection_point_cpp connection() {
        auto table = with_unknown<v3_connection_point_cpp>();
        table.point.connect = [](void*, v3_connection_point**) -> v3_result { return V3_OK; };
        table.point.disconnect = [](void*, v3_connection_point**) -> v3_result { return V3_OK; };
        table.point.notify = [](void*, v3_message**) -> v3_result { return V3_OK; };
        return table;
    }
};

namespace {
const auto kComponentTable = Tables::component();
const auto kProcessorTable = Tables::processor();
const auto kControllerTable = Tables::controller();
const auto kMidiMappingTable = Tables::midi_mapping();
const auto kUnitsTable = Tables::units_table();
const auto kRequirementsTable = Tables::requirements();
const auto kNoteExpressionTable = Tables::note_expression();
const auto kPhysicalMappingTable = Tables::physical_mapping();
const auto kConnectionTable = Tables::connection();
}  // namespace

void* Plugin::create(const v3_tuid interface) {
    void* found = nullptr;
    attempt([&] {
        auto* plugin = new Plugin;
        const v3_result result = plugin->query(interface, &found);
        plugin->release();  // the host holds it now, or nobody does
        return result;
    });
    return found;
}

Plugin::Plugin()
    : component_{as_unknown(kComponentTable), this},
      processor_{as_unknown(kProcessorTable), this},
      controller_{as_unknown(kControllerTable), this},
      midi_mapping_{as_unknown(kMidiMappingTable), this},
      units_{as_unknown(kUnitsTable), this},
      requirements_{as_unknown(kRequirementsTable), this},
      note_expression_{as_unknown(kNoteExpressionTable), this},
      physical_mapping_{as_unknown(kPhysicalMappingTable), this},
      connection_{as_unknown(kConnectionTable), this},
      main_thread_([this] { tell_news(); }),
      core_(*this) {
    show_all();
}

v3_result Plugin::query(const v3_tuid interface, void** found) {
    const struct {
        const std::uint8_t* iid;
        Interface<Plugin>* as;
    } interfaces[] = {
        {v3_funknown_iid, &component_},
        {v3_plugin_base_iid, &component_},
        {v3_component_iid, &component_},
        {v3_audio_processor_iid, &processor_},
        {v3_edit_controller_iid, &controller_},
        {v3_midi_mapping_iid, &midi_mapping_},
        {v3_unit_information_iid, &units_},
        {v3_process_context_requirements_iid, &requirements_},
        {kNoteExpressionControllerIid, &note_expression_},
        {kPhysicalMappingIid, &physical_mapping_},
        {v3_connection_point_iid, &connection_},
    };
    *found = nullptr;
    for (const auto& row : interfaces)
        if (v3_tuid_match(row.iid, interface)) {
            *found = row.as;
            ++references_;
            return V3_OK;
        }
    return V3_NO_INTERFACE;
}

std::uint32_t Plugin::release() {
    const std::uint32_t left = --references_;
    if (left == 0) delete this;
    return left;
}

// ---- component

v3_result Plugin::initialize(v3_funknown** host) {
    main_thread_.look_into(host);
    return V3_OK;
}

// As component and as controller, one after the other: what is gone is gone already.
v3_result Plugin::terminate() {
    main_thread_.leave();
    return set_handler(nullptr);
}

v3_result Plugin::bus_info(std::int32_t media, std::int32_t direction, std::int32_t index, v3_bus_info* info) const {
    const bool is_input = direction == V3_INPUT;
    if (index != 0 || (media != V3_AUDIO && !(media == V3_EVENT && is_input))) return V3_INVALID_ARG;
    *info = {};
    info->media_type = media;
    info->direction = direction;
    if (media == V3_EVENT) {
        info->channel_count = kChannels;
        info->flags = V3_DEFAULT_ACTIVE;
        write_text("Notes", info->bus_name);
        return V3_OK;
    }
    info->channel_count = channels_in(is_input ? input_ : output_);
    info->bus_type = is_input ? V3_AUX : V3_MAIN;
    info->flags = is_input ? 0 : V3_DEFAULT_ACTIVE;
    write_text(is_input ? "Audio In" : "Out", info->bus_name);
    return V3_OK;
}

v3_result Plugin::set_active(bool active) {
    if (active == active_) return V3_OK;
    if (active) {
        hear_shown();
        if (!core_.activate(sample_rate_, max_block_)) return V3_FALSE;
        latency_unknown_ = false;
        latency_changed_ = false;  // the host asks after this, or has asked before
    } else {
        core_.deactivate();
    }
    active_ = active;
    return V3_OK;
}

v3_result Plugin::set_state(v3_bstream** stream) {
    const auto& functions = functions_of<v3_bstream>(stream);
    std::vector<std::uint8_t> bytes;
    std::uint8_t part[4096];
    std::int32_t got = 0;
    while (functions.read(stream, part, sizeof part, &got) == V3_OK && got > 0) {
        if (bytes.size() + static_cast<std::size_t>(got) > kLargestState) return V3_FALSE;
        bytes.insert(bytes.end(), part, part + got);
    }
    std::string problem;
    if (!core_.restore_state(bytes.data(), bytes.size(), problem)) return V3_FALSE;
    show_all();
    return V3_OK;
}

// The component's state is this object's already. But hosts that keep values of their own (all on JUCE) only look when
// they are told.
v3_result Plugin::take_component_state() {
    show_all();
    if (handler_)
        functions_of<v3_component_handler>(handler_).restart_component(handler_, V3_RESTART_PARAM_VALUES_CHANGED);
    return V3_OK;
}

v3_result Plugin::get_state(v3_bstream** stream) {
    const auto& functions = functions_of<v3_bstream>(stream);
    hear_shown();  // a host may save after it has set a value, and before the block that brings it
    auto bytes = core_.save_state();
    for (std::size_t at = 0; at < bytes.size();) {
        std::int32_t written = 0;
        const auto size = static_cast<std::int32_t>(std::min<std::size_t>(bytes.size() - at, 1 << 20));
        if (functions.write(stream, bytes.data() + at, size, &written) != V3_OK || written <= 0) return V3_FALSE;
        at += static_cast<std::size_t>(written);
    }
    return V3_OK;
}

// ---- audio processor

v3_result Plugin::set_arrangements(const v3_speaker_arrangement* inputs, std::int32_t input_count,
                                   const v3_speaker_arrangement* outputs, std::int32_t output_count) {
    if (active_ || input_count > 1 || output_count != 1 || !is_playable(outputs[0])) return V3_FALSE;
    if (input_count == 1 && inputs[0] != 0 && !is_playable(inputs[0])) return V3_FALSE;
    if (input_count == 1 && inputs[0] != 0) input_ = inputs[0];
    output_ = outputs[0];
    return V3_TRUE;
}

v3_result Plugin::arrangement(std::int32_t direction, std::int32_t index, v3_speaker_arrangement* found) const {
    if (index != 0) return V3_INVALID_ARG;
    *found = direction == V3_INPUT ? input_ : output_;
    return V3_OK;
}

v3_result Plugin::setup(const v3_process_setup& setup) {
    if (setup.symbolic_sample_size != V3_SAMPLE_32 || setup.max_block_size < 1 || active_) return V3_FALSE;
    sample_rate_ = setup.sample_rate;
    max_block_ = static_cast<std::uint32_t>(setup.max_block_size);
    latency_unknown_ = true;
    return V3_OK;
}

// It depends on rate and instrument: only an engine knows. Hosts on JUCE ask after the setup and before activation, and
// never again, so that the engine starts now; who asks then is about to activate.
std::uint32_t Plugin::latency() {
    if (std::exchange(latency_unknown_, false))
        attempt([this] { return core_.activate(sample_rate_, max_block_) ? V3_OK : V3_FALSE; });
    return core_.latency_samples();
}

v3_result Plugin::process(v3_process_data& data) {
    if (!active_ || data.symbolic_sample_size != V3_SAMPLE_32) return V3_FALSE;
    events_.gather(data.input_params, data.input_events, shown_);
    AudioBlock block;
    block.samples = static_cast<std::uint32_t>(std::max(data.nframes, 0));
    block.offline = data.process_mode == V3_OFFLINE;  // not setup's: some hosts say it only here
    block.lines = true;
    block.events = events_.data();
    block.event_count = events_.count();
    Transport transport;
    if (has_transport(data.ctx)) {
        transport = translate(*data.ctx);
        block.transport = &transport;
    }
    const std::int32_t heard = std::min(2, channels_of(data.inputs, data.num_input_buses));
    const std::int32_t made = std::min(2, channels_of(data.outputs, data.num_output_buses));
    for (std::int32_t c = 0; c < heard; ++c) block.inputs[c] = data.inputs[0].channel_buffers_32[c];
    for (std::int32_t c = 0; c < made; ++c) block.outputs[c] = data.outputs[0].channel_buffers_32[c];
    const bool silent = core_.process(block);
    if (made > 0) data.outputs[0].channel_silence_bitset = silent && block.samples > 0 ? (1u << made) - 1 : 0;
    if (data.output_params) tell_read_outs(data.output_params);
    return V3_OK;
}

// Read-only parameters are the plugin's to say: as output parameters, from the audio thread, as VST3 has it.
void Plugin::tell_read_outs(v3_param_changes** changes) {
    read_outs_.tell(core_, [changes](std::uint32_t index, double plain) {
        v3_param_id id = kParameters[index].id;
        std::int32_t at = 0;
        v3_param_value_queue** queue = functions_of<v3_param_changes>(changes).add_param_data(changes, &id, &at);
        if (!queue) return false;
        functions_of<v3_param_value_queue>(queue).add_point(queue, 0, to_normalised(kParameters[index], plain), &at);
        return true;
    });
}

// ---- controller

v3_result Plugin::parameter_info(std::int32_t index, v3_param_info* info) const {
    if (index < 0 || index >= static_cast<std::int32_t>(kParameterCount)) return V3_INVALID_ARG;
    const Parameter& parameter = kParameters[index];
    *info = {};
    info->param_id = parameter.id;
    write_text(parameter.name, info->title);
    write_text(parameter.name, info->short_title);
    write_text(parameter.unit, info->units);
    info->step_count = static_cast<std::int32_t>(parameter.steps);
    info->default_normalised_value = to_normalised(parameter, parameter.initial);
    info->unit_id = units().id_of(parameter.group);
    info->flags = parameter.read_only ? V3_PARAM_READ_ONLY : V3_PARAM_CAN_AUTOMATE;
    if (parameter.choices) info->flags |= V3_PARAM_IS_LIST;
    if (parameter.id == kBypass) info->flags |= V3_PARAM_IS_BYPASS;
    return V3_OK;
}

double Plugin::shown(v3_param_id id) {
    tell_news();
    const std::uint32_t index = index_of(id);
    if (index == kParameterCount) return 0.0;
    if (kParameters[index].read_only) return to_normalised(kParameters[index], core_.parameter(index));
    return shown_[index].normalised;
}

v3_result Plugin::show(v3_param_id id, double normalised) {
    tell_news();
    const std::uint32_t index = index_of(id);
    if (index == kParameterCount || normalised != normalised) return V3_INVALID_ARG;
    shown_[index].normalised = std::clamp(normalised, 0.0, 1.0);
    shown_[index].unheard = true;
    return V3_OK;
}

void Plugin::show_all() {
    for (std::uint32_t i = 0; i < kParameterCount; ++i) {
        shown_[i].normalised = to_normalised(kParameters[i], core_.parameter(i));
        shown_[i].unheard = false;
    }
}

void Plugin::hear_shown() {
    for (std::uint32_t i = 0; i < kParameterCount; ++i)
        if (shown_[i].unheard.exchange(false))
            core_.set_parameter(i, from_normalised(kParameters[i], shown_[i].normalised));
}

v3_result Plugin::midi_assignment(std::int16_t controller, v3_param_id* id) const {
    const struct {
        std::int16_t controller;
        v3_param_id id;
    } assignments[] = {{kPitchBend, kX}, {kTimbre, kY}, {kChannelPressure, kPressure}, {kModulationWheel, kZ}};
    for (const auto& row : assignments)
        if (row.controller == controller) {
            *id = row.id;
            return V3_TRUE;
        }
    return V3_FALSE;
}

v3_result Plugin::set_handler(v3_component_handler** handler) {
    if (handler) v3_cpp_obj_ref(handler);
    if (handler_) v3_cpp_obj_unref(handler_);
    handler_ = handler;
    main_thread_.look_into(reinterpret_cast<v3_funknown**>(handler));
    return V3_OK;
}

void Plugin::tell_news() {
    if (handler_ && latency_changed_.exchange(false))
        functions_of<v3_component_handler>(handler_).restart_component(handler_, V3_RESTART_LATENCY_CHANGED);
}

}  // namespace terrain::vst3
