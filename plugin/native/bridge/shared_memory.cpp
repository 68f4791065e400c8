#include "bridge/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <utility>

namespace terrain::bridge {
namespace {

std::uint32_t aligned(std::size_t size) {
    return static_cast<std::uint32_t>((size + kCacheLine - 1) / kCacheLine * kCacheLine);
}

// As protocol.Layout has it; a test holds the two together.
Header laid_out(double sample_rate, std::uint32_t max_block) {
    const std::uint32_t audio = aligned(std::size_t{kChannels} * max_block * sizeof(float));
    Header header{};
    header.magic = kMagic;
    header.protocol = kProtocolVersion;
    header.sample_rate = sample_rate;
    header.max_block = max_block;
    header.max_events = kMaxEvents;
    header.request_at = aligned(sizeof(Header));
    header.reply_at = header.request_at + aligned(sizeof(Request));
    header.events_at = header.reply_at + aligned(sizeof(Reply));
    header.audio_in_at = header.events_at + aligned(kMaxEvents * sizeof(Event));
    header.audio_out_at = header.audio_in_at + audio;
    header.memory_bytes = header.audio_out_at + audio;
    return header;
}

#ifdef __linux__
Descriptor unnamed_memory(std::size_t bytes) {
    Descriptor memory(::memfd_create("latent-terrain", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!memory || ::ftruncate(memory.number(), static_cast<off_t>(bytes)) != 0) return {};
    // Nobody can cut it short under the other's feet.
    ::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return memory;
}
#else
// POSIX has no memory without a name: it gets one that nobody can guess, for as long as it is empty.
Descriptor unnamed_memory(std::size_t bytes) {
    Descriptor random(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
    std::uint64_t number = 0;
    if (!random || ::read(random.number(), &number, sizeof number) != sizeof number) return {};
    char name[32];
    std::snprintf(name, sizeof name, "/lt%016llx", static_cast<unsigned long long>(number));
    Descriptor memory(::shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    if (!memory) return {};
    ::shm_unlink(name);
    if (::ftruncate(memory.number(), static_cast<off_t>(bytes)) != 0) return {};
    return memory;
}
#endif

}  // namespace

SharedMemory::SharedMemory(double sample_rate, std::uint32_t max_block) {
    const Header header = laid_out(sample_rate, max_block);
    Descriptor memory = unnamed_memory(header.memory_bytes);
    if (!memory) return;
    void* base = ::mmap(nullptr, header.memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.number(), 0);
    if (base == MAP_FAILED) return;
    // Present and locked before the audio thread comes: it must not wait for a page. Not everybody may lock memory.
    ::mlock(base, header.memory_bytes);
    for (std::size_t at = 0; at < header.memory_bytes; at += 4096) static_cast<volatile std::byte*>(base)[at] = {};
    descriptor_ = std::move(memory);
    base_ = static_cast<std::byte*>(base);
    bytes_ = header.memory_bytes;
    new (base_) Header(header);
}

SharedMemory::~SharedMemory() {
    if (base_) ::munmap(base_, bytes_);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : descriptor_(std::move(other.descriptor_)),
      base_(std::exchange(other.base_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

}  // namespace terrain::bridge
