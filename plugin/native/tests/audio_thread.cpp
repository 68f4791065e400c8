// What the audio thread does besides sound, counted:
//
//   audio_thread BLOCKS SAMPLES
//
// Makes live blocks through the core and prints how often malloc and its kin were called meanwhile on this thread. The
// blocks stand between two calls of getppid(), so that strace can tell which system calls were theirs:
//
//   strace -f -o calls audio_thread 1000 512      (benchmarks/plugin.py does it)
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/plugin.h"

namespace {
thread_local bool counting = false;
thread_local unsigned long allocations = 0;
void count() {
    if (counting) ++allocations;
}
}  // namespace

// glibc's own, under the names by which every library in the process calls them.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void __libc_free(void*);
void* malloc(std::size_t size) {
    count();
    return __libc_malloc(size);
}
void* calloc(std::size_t members, std::size_t size) {
    count();
    return __libc_calloc(members, size);
}
void* realloc(void* memory, std::size_t size) {
    count();
    return __libc_realloc(memory, size);
}
void free(void* memory) {
    if (memory) count();
    __libc_free(memory);
}
}

namespace {
struct Face final : terrain::Listener {
    void latency_changed() override {}
    void status_changed() override {}
    void gestures_came() override {}
};
}  // namespace

int main(int argument_count, char** arguments) {
    const int blocks = argument_count > 1 ? std::atoi(arguments[1]) : 1000;
    const auto samples = static_cast<std::uint32_t>(argument_count > 2 ? std::atoi(arguments[2]) : 512);
    Face face;
    terrain::Plugin plugin(face);
    if (!plugin.activate(44100, samples)) return 1;
    std::vector<float> left(samples), right(samples);
    std::vector<terrain::Event> events(4);
    terrain::Transport transport;
    transport.flags = terrain::bridge::kPlaying | terrain::bridge::kHasBeat | terrain::bridge::kHasBpm;
    transport.bpm = 120;
    terrain::AudioBlock block;
    block.samples = samples;
    block.outputs[0] = left.data();
    block.outputs[1] = right.data();
    block.transport = &transport;
    block.lines = true;
    block.events = events.data();
    block.event_count = static_cast<std::uint32_t>(events.size());
    for (std::size_t i = 0; i < events.size(); ++i) {
        events[i].offset = static_cast<std::uint32_t>(i);
        events[i].kind = static_cast<std::uint16_t>(terrain::bridge::EventKind::kParameter);
        events[i].id = 1;
    }
    for (int i = 0; i < 100; ++i) plugin.process(block);
    ::syscall(SYS_getppid);
    counting = true;
    for (int i = 0; i < blocks; ++i) {
        for (auto& event : events) event.value = (i % 100) / 100.0;
        plugin.process(block);
    }
    counting = false;
    ::syscall(SYS_getppid);
    std::printf("{\"blocks\": %d, \"allocations\": %lu, \"late\": %llu}\n", blocks, allocations,
                static_cast<unsigned long long>(plugin.counters().late));
    return 0;
}
