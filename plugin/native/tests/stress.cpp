// A rough host for the core, to be run under the address and thread sanitizers:
//
//   stress SECONDS SEED
//
// Several plugins at once, each with an audio thread that makes blocks of random sizes with random events, live and
// offline by turns, while the main thread sets parameters, saves and restores states (whole, truncated, random),
// reactivates, and now and then kills an engine. Exits with 1 if a sample is not finite or too loud, if a block of a
// bounce is late, or if an engine outlives its plugin.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "bridge/clock.h"
#include "core/plugin.h"
#include "generated/parameters.h"

using namespace terrain;

namespace {

constexpr float kLoudest = 9.0f;  // the ceiling (2), what Level adds (4 times), a resampler's overshoot
constexpr std::uint32_t kMaxBlock = 512, kLongestBlock = 1500;

std::atomic<int> failures{0};

void expect(bool holds, const char* what) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "stress: %s\n", what);
}

struct Face final : Listener {
    std::atomic<int> calls{0};
    void latency_changed() override { ++calls; }
    void status_changed() override { ++calls; }
    void gestures_came() override { ++calls; }
};

using Random = std::mt19937;

double uniform(Random& random, double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
}
std::uint32_t below(Random& random, std::uint32_t count) {
    return std::uniform_int_distribution<std::uint32_t>(0, count - 1)(random);
}

std::vector<Event> random_events(Random& random, std::uint32_t samples) {
    std::vector<Event> events(below(random, 8) == 0 ? below(random, 4000) : below(random, 12));
    std::uint32_t offset = 0;
    for (Event& event : events) {
        offset = std::min(offset + below(random, 8), samples ? samples - 1 : 0);
        event.offset = offset;
        event.kind = static_cast<std::uint16_t>(1 + below(random, 6));
        event.id = below(random, 8) == 0 ? below(random, 10000) : kParameters[below(random, kParameterCount)].id;
        event.note_id = static_cast<std::int32_t>(below(random, 100)) - 1;
        event.key = static_cast<std::int16_t>(below(random, 129)) - 1;
        event.channel = static_cast<std::int16_t>(below(random, 17)) - 1;
        event.size = 3;
        event.data[0] = static_cast<std::uint8_t>(0x80 + below(random, 0x70));
        event.data[1] = static_cast<std::uint8_t>(below(random, 128));
        event.data[2] = static_cast<std::uint8_t>(below(random, 128));
        event.value = below(random, 50) == 0 ? std::nan("") : uniform(random, -1.0, 2.0);
    }
    return events;
}

// One instance and its audio thread.
struct Instance {
    Face face;
    Plugin plugin{face};
    std::atomic<bool> playing{false}, quit{false}, idle{true};
    std::thread audio;

    explicit Instance(unsigned seed) : audio([this, seed] { run(Random(seed)); }) {}
    ~Instance() {
        quit = true;
        audio.join();
    }

    void pause() {
        playing = false;
        while (!idle) std::this_thread::yield();
    }

    void run(Random random) {
        std::vector<float> left(kLongestBlock), right(kLongestBlock);
        bool offline = false;
        while (!quit) {
            if (!playing) {
                idle = true;
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                continue;
            }
            idle = false;
            if (!playing) continue;
            if (below(random, 200) == 0) offline = !offline;
            if (below(random, 300) == 0) plugin.reset();
            make_block(random, left, right, offline);
        }
        idle = true;
    }

    void make_block(Random& random, std::vector<float>& left, std::vector<float>& right, bool offline) {
        AudioBlock block;
        block.samples = below(random, 20) == 0 ? below(random, kLongestBlock + 1) : below(random, kMaxBlock + 1);
        const auto events = random_events(random, block.samples);
        block.events = events.data();
        block.event_count = static_cast<std::uint32_t>(events.size());
        block.lines = below(random, 2) == 0;
        block.offline = offline;
        block.outputs[0] = left.data();
        block.outputs[1] = below(random, 4) ? right.data() : nullptr;
        if (below(random, 3) == 0) {
            for (float& sample : left) sample = static_cast<float>(uniform(random, -1, 1));
            block.inputs[0] = left.data();
            block.inputs[1] = right.data();
        }
        Transport transport;
        transport.flags = below(random, 1u << 14) & ~0xFu;
        transport.beat = uniform(random, -10, 1000);
        transport.bpm = uniform(random, 20, 300);
        if (below(random, 3)) block.transport = &transport;
        const auto late = plugin.counters().late;
        plugin.process(block);
        for (std::uint32_t i = 0; i < block.samples; ++i)
            if (!(std::fabs(left[i]) <= kLoudest)) return expect(false, "a sample is not finite or too loud");
        if (offline) expect(plugin.counters().late == late, "a block of a bounce is late");
    }
};

// Something that a user or a host does on the main thread.
void disturb(Instance& instance, Random& random, std::vector<std::uint8_t>& saved) {
    std::string problem;
    switch (below(random, 12)) {
        case 0:
        case 1:
        case 2: instance.plugin.set_parameter(below(random, kParameterCount), uniform(random, -5, 5)); break;
        case 3: saved = instance.plugin.save_state(); break;
        case 4: expect(saved.empty() || instance.plugin.restore_state(saved.data(), saved.size(), problem),
                       "a saved state is refused"); break;
        case 5: if (saved.size() > 1)
                    expect(!instance.plugin.restore_state(saved.data(), below(random, saved.size() - 1), problem),
                           "a truncated state is taken"); break;
        case 6: {
            std::vector<std::uint8_t> noise(below(random, 10000));
            for (auto& byte : noise) byte = static_cast<std::uint8_t>(random());
            expect(!instance.plugin.restore_state(noise.data(), noise.size(), problem), "random bytes are taken");
            break;
        }
        case 7: if (below(random, 4) == 0) {
                    instance.pause();
                    instance.plugin.deactivate();
                    instance.plugin.activate(below(random, 2) ? 48000 : 44100, kMaxBlock >> below(random, 2));
                    instance.playing = true;
                } break;
        case 8: if (below(random, 3) == 0)
                    if (const auto pid = instance.plugin.counters().engine_pid)
                        ::kill(static_cast<pid_t>(pid), below(random, 2) ? SIGKILL : SIGTERM);
                break;
        default: std::this_thread::sleep_for(std::chrono::milliseconds(below(random, 50)));
    }
}

}  // namespace

int main(int count, char** arguments) {
    const double seconds = count > 1 ? std::atof(arguments[1]) : 5.0;
    Random random(count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 1u);
    std::vector<std::int64_t> engines;
    Plugin::Counters total{};
    {
        std::vector<std::unique_ptr<Instance>> instances;
        for (int i = 0; i < 3; ++i) {
            instances.push_back(std::make_unique<Instance>(random()));
            expect(instances.back()->plugin.activate(44100, kMaxBlock), "it cannot be activated");
            expect(instances.back()->plugin.parameter(index_of(kStatus)) == static_cast<double>(Status::kReady),
                   "its engine does not start");
            instances.back()->playing = true;
        }
        std::vector<std::uint8_t> saved;
        const auto until = bridge::now_ns() + static_cast<std::int64_t>(seconds * 1e9);
        while (bridge::now_ns() < until) disturb(*instances[below(random, instances.size())], random, saved);
        for (auto& instance : instances) {
            instance->pause();
            const auto counters = instance->plugin.counters();
            engines.push_back(counters.engine_pid);
            total.blocks += counters.blocks;
            total.late += counters.late;
            total.restarts += counters.restarts;
        }
    }
    const auto patience = bridge::now_ns() + 2 * bridge::kSecond;
    for (const auto pid : engines)
        if (pid) {
            while (::kill(static_cast<pid_t>(pid), 0) == 0 && bridge::now_ns() < patience) ::usleep(10000);
            expect(::kill(static_cast<pid_t>(pid), 0) != 0, "an engine outlives its plugin");
        }
    std::printf("%llu blocks, %llu late, %llu engines replaced, %d failures\n",
                static_cast<unsigned long long>(total.blocks), static_cast<unsigned long long>(total.late),
                static_cast<unsigned long long>(total.restarts), failures.load());
    return failures ? 1 : 0;
}
