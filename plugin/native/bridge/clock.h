// Monotonic time in nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

namespace terrain::bridge {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;

inline std::int64_t now_ns() {
    timespec time;
    ::clock_gettime(CLOCK_MONOTONIC, &time);  // answered without entering the kernel on Linux and macOS
    return time.tv_sec * kSecond + time.tv_nsec;
}

}  // namespace terrain::bridge
