// A rough CLAP host, to be run under the address and thread sanitizers:
//
//   clap_stress "Latent Terrain.clap" SECONDS SEED
//
// Instances come and go. Each has an audio thread that makes blocks of random sizes with random events, some of them
// transport changes, in place or not, in stereo or mono, while the main thread does what a host's main thread does:
// states, texts, values, render mode, activation. Buffers are exactly as long as the host says, so that a sample too
// many is found. Exits with 1 if a sample is not finite or a promise of the interface is broken.
#include <clap/entry.h>
#include <clap/ext/latency.h>
#include <clap/ext/params.h>
#include <clap/ext/state.h>
#include <clap/ext/thread-check.h>
#include <clap/plugin-factory.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "clap/missing.h"

namespace {

using Random = std::mt19937;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kMaxBlock = 512;

std::atomic<int> failures{0};
std::atomic<unsigned long> blocks{0};
const std::thread::id main_thread = std::this_thread::get_id();

void expect(bool holds, const char* what) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "clap_stress: %s\n", what);
}

std::uint32_t below(Random& random, std::uint32_t count) {
    return std::uniform_int_distribution<std::uint32_t>(0, count - 1)(random);
}
double uniform(Random& random, double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
}

// ---- the host's side

const clap_host_thread_check_t kThreads = {
    [](const clap_host_t*) { return std::this_thread::get_id() == main_thread; },
    [](const clap_host_t*) { return std::this_thread::get_id() != main_thread; }};

const clap_host_params_t kParams = {
    [](const clap_host_t* host, clap_param_rescan_flags) { expect(kThreads.is_main_thread(host), "rescan's thread"); },
    [](const clap_host_t*, clap_id, clap_param_clear_flags) {}, [](const clap_host_t*) {}};

const clap_host_latency_t kLatency = {
    [](const clap_host_t* host) { expect(kThreads.is_main_thread(host), "latency.changed's thread"); }};

const void* host_extension(const clap_host_t*, const char* id) {
    if (std::strcmp(id, CLAP_EXT_THREAD_CHECK) == 0) return &kThreads;
    if (std::strcmp(id, CLAP_EXT_PARAMS) == 0) return &kParams;
    if (std::strcmp(id, CLAP_EXT_LATENCY) == 0) return &kLatency;
    return nullptr;
}

// ---- events

union AnyEvent {
    clap_event_header_t header;
    clap_event_note_t note;
    clap_event_note_expression_t expression;
    clap_event_param_value_t value;
    clap_event_transport_t transport;
    clap_event_midi_t midi;
};

clap_event_transport_t random_transport(Random& random) {
    clap_event_transport_t transport{};
    transport.header = {sizeof transport, 0, CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_TRANSPORT, 0};
    transport.flags = below(random, 256);
    transport.song_pos_beats = static_cast<clap_beattime>(uniform(random, -1e12, 1e13));
    transport.song_pos_seconds = static_cast<clap_sectime>(uniform(random, -1e12, 1e13));
    transport.tempo = uniform(random, 0.0, 400.0);
    transport.loop_end_beats = static_cast<clap_beattime>(uniform(random, -1e12, 1e13));
    transport.bar_number = static_cast<std::int32_t>(random());
    transport.tsig_num = static_cast<std::uint16_t>(below(random, 65536));
    transport.tsig_denom = static_cast<std::uint16_t>(below(random, 65536));
    return transport;
}

AnyEvent random_event(Random& random, std::uint32_t time) {
    AnyEvent event{};
    const auto type = static_cast<std::uint16_t>(below(random, 13));
    if (type == CLAP_EVENT_TRANSPORT) {
        event.transport = random_transport(random);
    } else if (type == CLAP_EVENT_PARAM_VALUE) {
        event.value.param_id = below(random, 60);
        event.value.note_id = event.value.key = event.value.channel = below(random, 10) ? -1 : 1;
        event.value.value = below(random, 50) ? uniform(random, -3.0, 10.0) : std::nan("");
    } else if (type == CLAP_EVENT_NOTE_EXPRESSION) {
        event.expression.expression_id = static_cast<clap_note_expression>(below(random, 8));
        event.expression.key = static_cast<std::int16_t>(below(random, 129)) - 1;
        event.expression.channel = static_cast<std::int16_t>(below(random, 17)) - 1;
        event.expression.value = uniform(random, -120.0, 120.0);
    } else if (type == CLAP_EVENT_MIDI) {
        for (auto& byte : event.midi.data) byte = static_cast<std::uint8_t>(random());
    } else {
        event.note.key = static_cast<std::int16_t>(below(random, 129)) - 1;
        event.note.channel = static_cast<std::int16_t>(below(random, 17)) - 1;
        event.note.velocity = uniform(random, 0.0, 1.0);
    }
    event.header = {sizeof event, time, static_cast<std::uint16_t>(below(random, 20) ? 0 : 1), type, 0};
    return event;
}

struct Events {
    std::vector<AnyEvent> list;
    const clap_input_events_t in{
        this, [](const clap_input_events_t* in) { return static_cast<std::uint32_t>(of(in).size()); },
        [](const clap_input_events_t* in, std::uint32_t index) -> const clap_event_header_t* {
            return &of(in)[index].header;
        }};
    const clap_output_events_t out{
        this, [](const clap_output_events_t*, const clap_event_header_t*) { return true; }};

    Events(Random& random, std::uint32_t samples) {
        const std::uint32_t count = below(random, 30) == 0 ? below(random, 10000) : below(random, 12);
        std::uint32_t time = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            if (samples && time + 1 < samples) time += below(random, std::min(samples - time, 40u));
            list.push_back(random_event(random, time));
        }
    }
    Events(const Events&) = delete;
    static const std::vector<AnyEvent>& of(const clap_input_events_t* in) {
        return static_cast<const Events*>(in->ctx)->list;
    }
};

// ---- one instance and its audio thread

class Instance {
public:
    Instance(const clap_plugin_factory_t& factory, unsigned seed) : random_(seed) {
        plugin_ = factory.create_plugin(&factory, &host_, factory.get_plugin_descriptor(&factory, 0)->id);
        expect(plugin_ && plugin_->init(plugin_), "it cannot be made");
        params_ = extension<clap_plugin_params_t>(CLAP_EXT_PARAMS);
        state_ = extension<clap_plugin_state_t>(CLAP_EXT_STATE);
        render_ = extension<clap_plugin_render>(CLAP_EXT_RENDER);
        start();
    }
    ~Instance() {
        stop();
        plugin_->destroy(plugin_);
    }
    Instance(const Instance&) = delete;

    // Something that happens on the main thread.
    void disturb(Random& random) {
        switch (below(random, 9)) {
            case 0: stop(); start(); break;
            case 1: saved_ = save(); break;
            case 2: expect(saved_.empty() || load(saved_, saved_.size()), "a saved state is refused"); break;
            case 3: expect(saved_.empty() || !load(saved_, below(random, saved_.size())), "half a state is taken"); break;
            case 4: render_->set(plugin_, below(random, 2) ? CLAP_RENDER_OFFLINE : CLAP_RENDER_REALTIME); break;
            case 5: read_parameter(below(random, params_->count(plugin_))); break;
            default: break;
        }
        if (wants_main_thread_.exchange(false)) plugin_->on_main_thread(plugin_);
    }

private:
    template <typename Extension>
    const Extension* extension(const char* id) const {
        return static_cast<const Extension*>(plugin_->get_extension(plugin_, id));
    }

    void start() {
        expect(plugin_->activate(plugin_, below(random_, 2) ? 44100 : 48000, 1, kMaxBlock), "it cannot be activated");
        playing_ = true;
        audio_ = std::thread([this, seed = random_()] { run(Random(seed)); });
    }

    void stop() {
        playing_ = false;
        audio_.join();
        plugin_->deactivate(plugin_);
    }

    void run(Random random) {
        plugin_->start_processing(plugin_);
        while (playing_) {
            if (below(random, 100) == 0) plugin_->reset(plugin_);
            if (below(random, 100) == 0) flush(random);
            if (below(random, 500) == 0) make_wrong_block(random);
            make_block(random);
        }
        plugin_->stop_processing(plugin_);
    }

    void flush(Random& random) {
        const Events events(random, 0);
        params_->flush(plugin_, &events.in, &events.out);
    }

    // 64-bit buffers are not on offer.
    void make_wrong_block(Random& random) {
        const Events events(random, 1);
        double sample = 0.0, *channels[] = {&sample, &sample};
        clap_audio_buffer_t output{nullptr, channels, 2, 0, 0};
        const clap_process_t call{-1, 1, nullptr, nullptr, &output, 0, 1, &events.in, &events.out};
        expect(plugin_->process(plugin_, &call) == CLAP_PROCESS_ERROR, "64-bit buffers are taken");
    }

    void make_block(Random& random) {
        const std::uint32_t samples = below(random, kMaxBlock + 1), channels = 1 + below(random, 2);
        const bool in_place = below(random, 2), has_input = below(random, 2);
        std::vector<std::unique_ptr<float[]>> memory;  // each exactly as long as a block, which a sanitizer watches
        float *in[2], *out[2];
        for (std::uint32_t c = 0; c < channels; ++c) {
            for (int side = 0; side < 2; ++side) memory.push_back(std::make_unique<float[]>(samples));
            in[c] = memory[2 * c].get();
            out[c] = in_place ? in[c] : memory[2 * c + 1].get();
            for (std::uint32_t i = 0; i < samples; ++i) in[c][i] = static_cast<float>(uniform(random, -1.0, 1.0));
        }
        const Events events(random, samples);
        const auto transport = random_transport(random);
        const clap_audio_buffer_t input{in, nullptr, channels, 0, 0};
        clap_audio_buffer_t output{out, nullptr, channels, 0, 0};
        const clap_process_t call{-1, samples, below(random, 3) ? &transport : nullptr, has_input ? &input : nullptr,
                                  &output, has_input ? 1u : 0u, 1, &events.in, &events.out};
        expect(plugin_->process(plugin_, &call) != CLAP_PROCESS_ERROR, "a block fails");
        for (std::uint32_t c = 0; c < channels; ++c)
            for (std::uint32_t i = 0; i < samples; ++i)
                if (!std::isfinite(out[c][i])) return expect(false, "a sample is not finite");
        ++blocks;
    }

    Bytes save() const {
        Bytes bytes;
        const clap_ostream_t stream{&bytes, [](const clap_ostream_t* stream, const void* data, std::uint64_t size) {
            const auto* from = static_cast<const std::uint8_t*>(data);
            const std::uint64_t taken = std::min<std::uint64_t>(size, 100);
            static_cast<Bytes*>(stream->ctx)->insert(static_cast<Bytes*>(stream->ctx)->end(), from, from + taken);
            return static_cast<std::int64_t>(taken);
        }};
        expect(state_->save(plugin_, &stream), "it cannot save");
        return bytes;
    }

    bool load(const Bytes& bytes, std::size_t size) const {
        struct Rest {
            const std::uint8_t* data;
            std::size_t size;
        } rest{bytes.data(), size};
        const clap_istream_t stream{&rest, [](const clap_istream_t* stream, void* buffer, std::uint64_t wanted) {
            auto& left = *static_cast<Rest*>(stream->ctx);
            const std::size_t taken = std::min<std::size_t>({left.size, wanted, 100});
            std::memcpy(buffer, left.data, taken);
            left.data += taken;
            left.size -= taken;
            return static_cast<std::int64_t>(taken);
        }};
        return state_->load(plugin_, &stream);
    }

    void read_parameter(std::uint32_t index) const {
        clap_param_info_t info;
        double value, again;
        char text[64];
        const bool told = params_->get_info(plugin_, index, &info) &&
                          params_->get_value(plugin_, info.id, &value) &&
                          params_->value_to_text(plugin_, info.id, value, text, sizeof text) &&
                          params_->text_to_value(plugin_, info.id, text, &again);
        expect(told && value >= info.min_value && value <= info.max_value, "a parameter is not what it says");
    }

    Random random_;
    std::atomic<bool> wants_main_thread_{false}, playing_{false};
    const clap_host_t host_{CLAP_VERSION_INIT, this, "clap_stress", "", "", "1", host_extension,
                            [](const clap_host_t*) {}, [](const clap_host_t*) {},
                            [](const clap_host_t* host) {
                                static_cast<Instance*>(host->host_data)->wants_main_thread_ = true;
                            }};
    const clap_plugin_t* plugin_ = nullptr;
    const clap_plugin_params_t* params_ = nullptr;
    const clap_plugin_state_t* state_ = nullptr;
    const clap_plugin_render* render_ = nullptr;
    Bytes saved_;
    std::thread audio_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) return std::fprintf(stderr, "clap_stress PLUGIN [SECONDS [SEED]]\n"), 2;
    void* library = ::dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return std::fprintf(stderr, "%s\n", ::dlerror()), 2;
    const auto* entry = static_cast<const clap_plugin_entry_t*>(::dlsym(library, "clap_entry"));
    expect(entry && entry->init(arguments[1]), "no clap_entry");
    const auto& factory = *static_cast<const clap_plugin_factory_t*>(entry->get_factory(CLAP_PLUGIN_FACTORY_ID));

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
    entry->deinit();
    std::printf("%lu blocks, %d failures\n", blocks.load(), failures.load());
    return failures || blocks == 0 ? 1 : 0;
}
