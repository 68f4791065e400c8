#include "bridge/engine_link.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE is set instead
#endif

namespace terrain::bridge {
namespace {

// Sleep until the descriptor has something to say or the deadline has passed.
int wait_for(int descriptor, std::int64_t timeout_ns) {
    pollfd ready{descriptor, POLLIN, 0};
#ifdef __linux__
    const timespec timeout{timeout_ns / kSecond, timeout_ns % kSecond};
    return ::ppoll(&ready, 1, &timeout, nullptr);
#else
    return ::poll(&ready, 1, static_cast<int>((timeout_ns + kMillisecond - 1) / kMillisecond));
#endif
}

}  // namespace

EngineLink::EngineLink(SharedMemory memory, Descriptor wake) : memory_(std::move(memory)), wake_(std::move(wake)) {}

void EngineLink::submit(bool offline) {
    waiting_offline_.store(offline, std::memory_order_relaxed);
    waiting_since_ns_.store(now_ns(), std::memory_order_relaxed);
    __atomic_store_n(&memory_.request().sequence, ++sequence_, __ATOMIC_RELEASE);
    const char byte = 1;
    // A full socket is as good: the engine will wake for the bytes that are in it.
    const auto sent = ::send(wake_.number(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) lost_ = true;
}

EngineLink::Outcome EngineLink::wait(std::int64_t deadline_ns) {
    while (outstanding()) {
        if (lost_) return Outcome::kLost;
        const std::int64_t left = deadline_ns - now_ns();
        if (left <= 0) return Outcome::kLate;
        if (wait_for(wake_.number(), left) > 0) drain();
    }
    return Outcome::kAnswered;
}

bool EngineLink::outstanding() {
    if (waiting_since_ns_.load(std::memory_order_relaxed) == 0) return false;
    if (__atomic_load_n(&memory_.reply().sequence, __ATOMIC_ACQUIRE) != sequence_) return true;
    waiting_since_ns_.store(0, std::memory_order_relaxed);
    has_answered_.store(true, std::memory_order_relaxed);
    return false;
}

std::int64_t EngineLink::waiting_ns() const {
    const std::int64_t since = waiting_since_ns_.load(std::memory_order_relaxed);
    // The audio thread looks for the answer only when the host calls it.
    const auto asked = __atomic_load_n(&memory_.request().sequence, __ATOMIC_RELAXED);
    const bool answered = __atomic_load_n(&memory_.reply().sequence, __ATOMIC_RELAXED) == asked;
    return since == 0 || answered ? 0 : now_ns() - since;
}

bool EngineLink::loading() const {
    return __atomic_load_n(&memory_.reply().state, __ATOMIC_RELAXED) == static_cast<std::uint32_t>(EngineState::kLoading);
}

// Take the bytes that woke us; end of file means that the engine's process is gone.
void EngineLink::drain() {
    char bytes[64];
    const auto got = ::recv(wake_.number(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) lost_ = true;
}

}  // namespace terrain::bridge
