// A rough VST3 host, to be run under the address and thread sanitizers:
//
//   vst3_stress "Latent Terrain.vst3/Contents/x86_64-linux/Latent Terrain.so" SECONDS SEED
//
// Instances come and go. Each has an audio thread that makes blocks of random sizes with random queues, notes and
// transport, in place or not, in stereo or mono, with and without buses, while the main thread does what a host's main
// thread does: states, texts, values, activation. Buffers are exactly as long as the host says, so that a sample too
// many is found. Exits with 1 if a sample is not finite or a promise of the interface is broken.
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "generated/identity.h"
#include "generated/parameters.h"
#include "vst3/interfaces.h"

namespace {

using terrain::vst3::functions_of;
using Random = std::mt19937;
using Bytes = std::vector<std::uint8_t>;

constexpr std::int32_t kMaxBlock = 512;

std::atomic<int> failures{0};
std::atomic<unsigned long> blocks{0};
const std::thread::id main_thread = std::this_thread::get_id();

void expect(bool holds, const char* what) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "vst3_stress: %s\n", what);
}

std::uint32_t below(Random& random, std::uint32_t count) {
    return std::uniform_int_distribution<std::uint32_t>(0, count - 1)(random);
}
template <typename Number>
Number between(Random& random, int low, int high) {
    return static_cast<Number>(std::uniform_int_distribution<int>(low, high)(random));
}
double uniform(Random& random, double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
}

// ---- the host's objects: a table of functions, and their owner behind it

template <typename Table>
Table with_unknown() {
    Table table{};
    table.query_interface = [](void*, const v3_tuid, void** found) -> v3_result {
        *found = nullptr;
        return V3_NO_INTERFACE;
    };
    table.ref = [](void*) -> std::uint32_t { return 2; };
    table.unref = [](void*) -> std::uint32_t { return 1; };
    return table;
}

template <typename Owner, typename Table>
class HostObject {
public:
    HostObject() : object_{&kTable, static_cast<Owner*>(this)} {}
    HostObject(const HostObject&) = delete;
    template <typename As>
    As* as() {
        return reinterpret_cast<As*>(&object_);
    }
    static Owner& of(void* self) { return terrain::vst3::object_of<Owner>(self); }

private:
    static const Table kTable;
    terrain::vst3::Interface<Owner> object_;
};

template <typename Owner, typename Table>
const Table HostObject<Owner, Table>::kTable = Owner::table();

struct Queue : HostObject<Queue, v3_param_value_queue_cpp> {
    v3_param_id id = 0;
    std::vector<std::pair<std::int32_t, double>> points;

    static v3_param_value_queue_cpp table() {
        auto table = with_unknown<v3_param_value_queue_cpp>();
        table.queue.get_param_id = [](void* self) { return of(self).id; };
        table.queue.get_point_count = [](void* self) { return static_cast<std::int32_t>(of(self).points.size()); };
        table.queue.get_point = [](void* self, std::int32_t index, std::int32_t* offset, double* value) -> v3_result {
            std::tie(*offset, *value) = of(self).points.at(static_cast<std::size_t>(index));
            return V3_OK;
        };
        table.queue.add_point = [](void* self, std::int32_t offset, double value, std::int32_t* index) -> v3_result {
            of(self).points.emplace_back(offset, value);
            *index = static_cast<std::int32_t>(of(self).points.size()) - 1;
            return V3_OK;
        };
        return table;
    }
};

struct Changes : HostObject<Changes, v3_param_changes_cpp> {
    std::vector<std::unique_ptr<Queue>> queues;

    Queue& add(v3_param_id id) {
        queues.push_back(std::make_unique<Queue>());
        queues.back()->id = id;
        return *queues.back();
    }

    static v3_param_changes_cpp table() {
        auto table = with_unknown<v3_param_changes_cpp>();
        table.changes.get_param_count = [](void* self) { return static_cast<std::int32_t>(of(self).queues.size()); };
        table.changes.get_param_data = [](void* self, std::int32_t index) {
            return of(self).queues.at(static_cast<std::size_t>(index))->as<v3_param_value_queue*>();
        };
        table.changes.add_param_data = [](void* self, v3_param_id* id, std::int32_t* index) {
            *index = static_cast<std::int32_t>(of(self).queues.size());
            return of(self).add(*id).as<v3_param_value_queue*>();
        };
        return table;
    }
};

struct Notes : HostObject<Notes, v3_event_list_cpp> {
    std::vector<v3_event> list;

    static v3_event_list_cpp table() {
        auto table = with_unknown<v3_event_list_cpp>();
        table.list.get_event_count = [](void* self) { return static_cast<std::uint32_t>(of(self).list.size()); };
        table.list.get_event = [](void* self, std::int32_t index, v3_event* event) -> v3_result {
            *event = of(self).list.at(static_cast<std::size_t>(index));
            return V3_OK;
        };
        table.list.add_event = [](void*, v3_event*) -> v3_result { return V3_NOT_IMPLEMENTED; };
        return table;
    }
};

struct v3_bstream_cpp : v3_funknown {
    v3_bstream stream;
};

// Takes and gives at most 100 bytes at a time.
struct Stream : HostObject<Stream, v3_bstream_cpp> {
    Bytes bytes;
    std::size_t at = 0;

    static v3_bstream_cpp table() {
        auto table = with_unknown<v3_bstream_cpp>();
        table.stream.read = [](void* self, void* to, std::int32_t size, std::int32_t* got) -> v3_result {
            Stream& stream = of(self);
            const std::size_t taken =
                std::min<std::size_t>({stream.bytes.size() - stream.at, static_cast<std::size_t>(size), 100});
            std::copy_n(stream.bytes.begin() + static_cast<std::ptrdiff_t>(stream.at), taken,
                        static_cast<std::uint8_t*>(to));
            stream.at += taken;
            *got = static_cast<std::int32_t>(taken);
            return V3_OK;
        };
        table.stream.write = [](void* self, void* from, std::int32_t size, std::int32_t* written) -> v3_result {
            *written = std::min(size, 100);
            const auto* data = static_cast<const std::uint8_t*>(from);
            of(self).bytes.insert(of(self).bytes.end(), data, data + *written);
            return V3_OK;
        };
        table.stream.seek = [](void*, std::int64_t, std::int32_t, std::int64_t*) -> v3_result { return V3_FALSE; };
        table.stream.tell = [](void*, std::int64_t*) -> v3_result { return V3_FALSE; };
        return table;
    }
};

struct v3_component_handler_cpp : v3_funknown {
    v3_component_handler handler;
};

struct Handler : HostObject<Handler, v3_component_handler_cpp> {
    static v3_component_handler_cpp table() {
        auto table = with_unknown<v3_component_handler_cpp>();
        const auto edit = [](void*, v3_param_id) -> v3_result { return V3_OK; };
        table.handler.begin_edit = table.handler.end_edit = edit;
        table.handler.perform_edit = [](void*, v3_param_id, double) -> v3_result { return V3_OK; };
        table.handler.restart_component = [](void*, std::int32_t) -> v3_result {
            expect(std::this_thread::get_id() == main_thread, "restart_component's thread");
            return V3_OK;
        };
        return table;
    }
};

// ---- what goes into a block

void fill(Changes& changes, Random& random, std::int32_t samples) {
    const std::uint32_t most = below(random, 40) == 0 ? 4000 : 4;
    for (std::uint32_t i = below(random, 6); i > 0; --i) {
        Queue& queue = changes.add(below(random, 60));
        auto offset = between<std::int32_t>(random, -3, 4);
        for (std::uint32_t point = below(random, most); point > 0; --point) {
            queue.points.emplace_back(offset, below(random, 50) ? uniform(random, -0.2, 1.2) : std::nan(""));
            if (offset < samples + 3) offset += between<std::int32_t>(random, 0, 39);
        }
    }
}

v3_event random_note(Random& random, std::int32_t samples) {
    v3_event event{};
    event.sample_offset = between<std::int32_t>(random, -2, samples + 2);
    event.type = between<std::uint16_t>(random, 0, 8);
    const auto channel = between<std::int16_t>(random, -2, 17), pitch = between<std::int16_t>(random, -5, 134);
    const auto id = between<std::int32_t>(random, -1, 400);
    const auto amount = static_cast<float>(uniform(random, -0.1, 1.1));
    if (event.type == V3_EVENT_NOTE_ON) event.note_on = {channel, pitch, 0, amount, 0, id};
    if (event.type == V3_EVENT_NOTE_OFF) event.note_off = {channel, pitch, amount, id, 0};
    if (event.type == V3_EVENT_POLY_PRESSURE) event.poly_pressure = {channel, pitch, amount, id};
    if (event.type == V3_EVENT_NOTE_EXP_VALUE)
        event.note_exp_value = {below(random, 2) ? below(random, 8) : 100000u, id, amount};
    return event;
}

v3_process_context random_context(Random& random) {
    v3_process_context context{};
    context.state = random();
    context.sample_rate = below(random, 10) ? 44100.0 : 0.0;
    context.project_time_in_samples = static_cast<std::int64_t>(uniform(random, -1e12, 1e13));
    context.project_time_quarters = uniform(random, -1e6, 1e6);
    context.bpm = below(random, 10) ? uniform(random, 0.0, 400.0) : std::nan("");
    context.time_sig_numerator = static_cast<std::int32_t>(random());
    context.time_sig_denom = static_cast<std::int32_t>(random());
    return context;
}

// ---- one instance and its audio thread

class Instance {
public:
    Instance(v3_plugin_factory** factory, unsigned seed) : random_(seed) {
        void* made = nullptr;
        const auto& functions = functions_of<v3_plugin_factory>(factory);
        functions.create_instance(factory, terrain::kVst3ClassId, v3_component_iid, &made);
        expect(made != nullptr, "it cannot be made");
        component_ = static_cast<v3_component**>(made);
        processor_ = ask<v3_audio_processor>(v3_audio_processor_iid);
        controller_ = ask<v3_edit_controller>(v3_edit_controller_iid);
        expect(v3_cpp_obj_initialize(component_, nullptr) == V3_OK, "it cannot be initialised");
        controller().set_component_handler(controller_, handler_.as<v3_component_handler*>());
        start();
    }
    ~Instance() {
        stop();
        v3_cpp_obj_terminate(component_);
        v3_cpp_obj_unref(processor_);
        v3_cpp_obj_unref(controller_);
        expect(v3_cpp_obj_unref(component_) == 0, "somebody still refers to it");
    }
    Instance(const Instance&) = delete;

    // Something that happens on the main thread.
    void disturb(Random& random) {
        switch (below(random, 8)) {
            case 0: stop(); start(); break;
            case 1: saved_ = save(); break;
            case 2: expect(saved_.empty() || load(saved_, saved_.size()), "a saved state is refused"); break;
            case 3: expect(saved_.empty() || !load(saved_, below(random, saved_.size())), "half a state counts"); break;
            case 4: read_parameter(below(random, terrain::kParameterCount)); break;
            case 5: set_parameter(below(random, terrain::kParameterCount), uniform(random, 0.0, 1.0)); break;
            default: break;
        }
    }

private:
    template <typename Functions>
    Functions** ask(const v3_tuid iid) {
        Functions** found = nullptr;
        expect(v3_cpp_obj_query_interface(component_, iid, &found) == V3_OK, "an interface is missing");
        return found;
    }

    const v3_component& component() const { return *v3_cpp_obj(component_); }
    const v3_audio_processor& processor() const { return functions_of<v3_audio_processor>(processor_); }
    const v3_edit_controller& controller() const { return *v3_cpp_obj(controller_); }

    void start() {
        v3_process_setup setup{V3_REALTIME, V3_SAMPLE_32, kMaxBlock, below(random_, 2) ? 44100.0 : 48000.0};
        expect(processor().setup_processing(processor_, &setup) == V3_OK, "it cannot be set up");
        if (below(random_, 2)) processor().get_latency_samples(processor_);
        expect(component().set_active(component_, true) == V3_OK, "it cannot be activated");
        playing_ = true;
        audio_ = std::thread([this, seed = random_()] { run(Random(seed)); });
    }

    void stop() {
        playing_ = false;
        audio_.join();
        component().set_active(component_, false);
    }

    void run(Random random) {
        processor().set_processing(processor_, true);
        while (playing_) {
            if (below(random, 100) == 0) {
                processor().set_processing(processor_, false);
                processor().set_processing(processor_, true);
            }
            make_block(random);
        }
        processor().set_processing(processor_, false);
    }

    void make_block(Random& random) {
        const auto samples = between<std::int32_t>(random, 0, kMaxBlock);
        const auto channels = between<std::int32_t>(random, 1, 2);
        const bool in_place = below(random, 2), has_input = below(random, 2), has_output = below(random, 20);
        std::vector<std::unique_ptr<float[]>> memory;  // each exactly as long as a block, which a sanitizer watches
        float *in[2], *out[2];
        for (std::int32_t c = 0; c < channels; ++c) {
            for (int side = 0; side < 2; ++side) memory.emplace_back(new float[static_cast<std::size_t>(samples)]());
            in[c] = memory.end()[-2].get();
            out[c] = in_place ? in[c] : memory.back().get();
            for (std::int32_t i = 0; i < samples; ++i) in[c][i] = static_cast<float>(uniform(random, -1.0, 1.0));
        }
        Changes changes, news;
        fill(changes, random, samples);
        Notes notes;
        for (std::uint32_t i = below(random, 5); i > 0; --i) notes.list.push_back(random_note(random, samples));
        auto context = random_context(random);
        v3_audio_bus_buffers input{channels, 0, {in}}, output{channels, 0, {out}};
        v3_process_data data{};
        data.process_mode = below(random, 2) ? V3_OFFLINE : V3_REALTIME;
        data.nframes = samples;
        data.num_input_buses = has_input;
        data.num_output_buses = has_output;
        data.inputs = has_input ? &input : nullptr;
        data.outputs = has_output ? &output : nullptr;
        data.input_params = below(random, 10) ? changes.as<v3_param_changes*>() : nullptr;
        data.output_params = below(random, 10) ? news.as<v3_param_changes*>() : nullptr;
        data.input_events = below(random, 10) ? notes.as<v3_event_list*>() : nullptr;
        data.ctx = below(random, 3) ? &context : nullptr;
        expect(processor().process(processor_, &data) == V3_OK, "a block fails");
        for (std::int32_t c = 0; c < channels && has_output; ++c)
            for (std::int32_t i = 0; i < samples; ++i)
                if (!std::isfinite(out[c][i])) return expect(false, "a sample is not finite");
        ++blocks;
    }

    Bytes save() {
        Stream stream;
        expect(component().get_state(component_, stream.as<v3_bstream*>()) == V3_OK, "it cannot save");
        return stream.bytes;
    }

    bool load(const Bytes& bytes, std::size_t size) {
        Stream stream;
        stream.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        if (component().set_state(component_, stream.as<v3_bstream*>()) != V3_OK) return false;
        return controller().set_component_state(controller_, stream.as<v3_bstream*>()) == V3_OK;
    }

    void read_parameter(std::uint32_t index) {
        v3_param_info info;
        v3_str_128 text;
        double again;
        controller().get_parameter_info(controller_, static_cast<std::int32_t>(index), &info);
        const double value = controller().get_parameter_normalised(controller_, info.param_id);
        const bool told =
            controller().get_parameter_string_for_value(controller_, info.param_id, value, text) == V3_OK &&
            controller().get_parameter_value_for_string(controller_, info.param_id, text, &again) == V3_OK;
        expect(told && value >= 0 && value <= 1 && again >= 0 && again <= 1, "a parameter is not what it says");
    }

    void set_parameter(std::uint32_t index, double normalised) {
        controller().set_parameter_normalised(controller_, terrain::kParameters[index].id, normalised);
    }

    Random random_;
    Handler handler_;
    v3_component** component_ = nullptr;
    v3_audio_processor** processor_ = nullptr;
    v3_edit_controller** controller_ = nullptr;
    std::atomic<bool> playing_{false};
    Bytes saved_;
    std::thread audio_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) return std::fprintf(stderr, "vst3_stress LIBRARY [SECONDS [SEED]]\n"), 2;
    void* library = ::dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return std::fprintf(stderr, "%s\n", ::dlerror()), 2;
    const auto enter = reinterpret_cast<bool (*)(void*)>(::dlsym(library, "ModuleEntry"));
    const auto leave = reinterpret_cast<bool (*)()>(::dlsym(library, "ModuleExit"));
    const auto get_factory = reinterpret_cast<v3_plugin_factory** (*)()>(::dlsym(library, "GetPluginFactory"));
    expect(enter && leave && get_factory && enter(library), "an entry is missing");
    v3_plugin_factory** factory = get_factory();

    const auto until = std::chrono::steady_clock::now() +
                       std::chrono::duration<double>(count > 2 ? std::atof(arguments[2]) : 5.0);
    Random random(count > 3 ? static_cast<unsigned>(std::atoi(arguments[3])) : 1u);
    {
        std::vector<std::unique_ptr<Instance>> instances;
        while (std::chrono::steady_clock::now() < until) {
            if (instances.size() < 3) instances.push_back(std::make_unique<Instance>(factory, random()));
            if (below(random, 200) == 0) instances.erase(instances.begin());
            for (auto& instance : instances) instance->disturb(random);
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    }
    leave();
    std::printf("%lu blocks, %d failures\n", blocks.load(), failures.load());
    return failures || blocks == 0 ? 1 : 0;
}
