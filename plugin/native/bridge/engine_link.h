// One engine, as the audio thread sees it: a request there, a reply back.
//
// Made by the supervisor, then handed to the audio thread, which is the only one to call the functions of the first
// group. The supervisor destroys it when the audio thread has given it back.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "bridge/clock.h"
#include "bridge/descriptor.h"
#include "bridge/shared_memory.h"

namespace terrain::bridge {

class EngineLink {
public:
    EngineLink(SharedMemory memory, Descriptor wake);

    // ---- audio thread ----

    SharedMemory& memory() { return memory_; }

    // Ask for the block that stands in memory. Only while none is outstanding.
    void submit(bool offline);

    enum class Outcome { kAnswered, kLate, kLost };
    // Wait for the outstanding block until the monotonic time `deadline_ns`.
    Outcome wait(std::int64_t deadline_ns);

    // Whether an earlier request is still unanswered; looks, but does not wait.
    bool outstanding();

    // The engine is gone: nothing will ever come.
    bool lost() const { return lost_; }

    EngineLink* next = nullptr;  // in the list of links that the audio thread has given back

    // ---- any thread ----

    // For how long a request has been outstanding, in nanoseconds; 0 if none is.
    std::int64_t waiting_ns() const;
    bool waiting_offline() const { return waiting_offline_.load(std::memory_order_relaxed); }
    bool loading() const;
    bool has_answered() const { return has_answered_.load(std::memory_order_relaxed); }

private:
    void drain();

    SharedMemory memory_;
    Descriptor wake_;
    std::uint64_t sequence_ = 0;
    bool lost_ = false;
    std::atomic<std::int64_t> waiting_since_ns_{0};
    std::atomic<bool> waiting_offline_{false};
    std::atomic<bool> has_answered_{false};
};

}  // namespace terrain::bridge
