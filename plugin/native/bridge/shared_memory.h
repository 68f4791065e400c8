// The memory that a plugin instance and its engine share. It has no name, and its size is fixed when it is made.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bridge/descriptor.h"
#include "generated/protocol.h"

namespace terrain::bridge {

class SharedMemory {
public:
    SharedMemory() = default;
    // Laid out for blocks of up to max_block samples, its header filled in. Empty if the system refuses.
    SharedMemory(double sample_rate, std::uint32_t max_block);
    ~SharedMemory();
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&& other) noexcept;

    explicit operator bool() const { return base_ != nullptr; }
    int descriptor() const { return descriptor_.number(); }

    const Header& header() const { return *reinterpret_cast<const Header*>(base_); }
    Request& request() { return *reinterpret_cast<Request*>(base_ + header().request_at); }
    const Request& request() const { return *reinterpret_cast<const Request*>(base_ + header().request_at); }
    const Reply& reply() const { return *reinterpret_cast<const Reply*>(base_ + header().reply_at); }
    Event* events() { return reinterpret_cast<Event*>(base_ + header().events_at); }
    float* audio_in(std::uint32_t channel) { return audio(header().audio_in_at, channel); }
    const float* audio_out(std::uint32_t channel) { return audio(header().audio_out_at, channel); }

private:
    float* audio(std::uint32_t at, std::uint32_t channel) {
        return reinterpret_cast<float*>(base_ + at) + std::size_t{channel} * header().max_block;
    }

    Descriptor descriptor_;
    std::byte* base_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace terrain::bridge
