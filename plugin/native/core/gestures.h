// What a hand at the editor does, on its way from the supervisor's thread to the host: begin, values, end.
//
// One thread puts (the supervisor's), one takes: the thread on which the face tells its host. Neither waits, and neither
// allocates. When the host takes nothing for a while and the queue is full, what comes is kept parameter by parameter
// beside it: of the values the newest, of begins and ends every one that the host must still hear. So memory is bounded,
// no gesture stays open, and the last value is the one that counts.
#pragma once

#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "generated/parameters.h"
#include "generated/protocol.h"

namespace terrain {

struct Gesture {
    std::uint32_t index = 0;  // into kParameters
    bridge::GestureKind kind = bridge::GestureKind::kEnd;
    double value = 0.0;  // plain, of a value
};

class GestureQueue {
public:
    static constexpr std::size_t kRoom = 1024;  // a pen that draws with three parameters for a third of a second

    // ---- the thread that puts ----

    // Put a gesture; one that makes no sense (a value outside a gesture, a second begin) is left out. Whether there is
    // something to take.
    bool put(const Gesture& gesture) {
        if (gesture.index >= kParameterCount || kParameters[gesture.index].read_only) return false;
        bool& open = open_[gesture.index];
        switch (gesture.kind) {
            case bridge::GestureKind::kBegin:
                if (open) return false;
                open = true;
                break;
            case bridge::GestureKind::kValue:
                if (!open || std::isnan(gesture.value)) return false;
                break;
            case bridge::GestureKind::kEnd:
                if (!open) return false;
                open = false;
                break;
            default: return false;
        }
        keep(gesture);
        return put_kept();
    }

    // The hand is gone: end what is open. Whether there is something to take.
    bool end_all() {
        bool any = false;
        for (std::uint32_t i = 0; i < kParameterCount; ++i)
            any = put({i, bridge::GestureKind::kEnd, 0.0}) || any;
        return any;
    }

    // Put what had no room before. Whether something was put.
    bool put_kept() {
        bool any = false;
        while (kept_count_ > 0) {
            Kept& kept = kept_[oldest_];
            if (kept.waits()) {
                if (!pass_on(kept)) return any;
                any = true;
            }
            if (!kept.waits()) next_kept();
        }
        return any;
    }

    // ---- the thread that takes ----

    // The oldest one, or null.
    const Gesture* front() const {
        const auto at = taken_.load(std::memory_order_relaxed);
        return at == put_.load(std::memory_order_acquire) ? nullptr : &ring_[at % kRoom];
    }
    void pop() { taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

private:
    // What a parameter still has to tell, in this order.
    struct Kept {
        std::uint32_t index = 0;
        bool begin = false, value = false, end = false;
        double newest = 0.0;
        bool waits() const { return begin || value || end; }
    };

    void keep(const Gesture& gesture) {
        Kept& kept = kept_of(gesture.index);
        switch (gesture.kind) {
            case bridge::GestureKind::kBegin:
                // The host has not heard of the end before: the gesture just goes on.
                if (kept.end) kept.end = false;
                else kept.begin = true;
                break;
            case bridge::GestureKind::kValue:
                kept.value = true;
                kept.newest = gesture.value;
                break;
            case bridge::GestureKind::kEnd: kept.end = true; break;
        }
    }

    // The row of a parameter: the one that it has, or a new one behind the others.
    Kept& kept_of(std::uint32_t index) {
        for (std::size_t n = 0; n < kept_count_; ++n)
            if (Kept& kept = kept_[(oldest_ + n) % kParameterCount]; kept.index == index) return kept;
        Kept& kept = kept_[(oldest_ + kept_count_++) % kParameterCount];
        kept = {};
        kept.index = index;
        return kept;
    }

    void next_kept() {
        oldest_ = (oldest_ + 1) % kParameterCount;
        --kept_count_;
    }

    // One of a row's gestures into the ring; false if that is full.
    bool pass_on(Kept& kept) {
        const auto at = put_.load(std::memory_order_relaxed);
        if (at - taken_.load(std::memory_order_acquire) == kRoom) return false;
        Gesture& place = ring_[at % kRoom];
        place.index = kept.index;
        place.value = kept.newest;
        if (kept.begin) {
            place.kind = bridge::GestureKind::kBegin;
            kept.begin = false;
        } else if (kept.value) {
            place.kind = bridge::GestureKind::kValue;
            kept.value = false;
        } else {
            place.kind = bridge::GestureKind::kEnd;
            kept.end = false;
        }
        put_.store(at + 1, std::memory_order_release);
        return true;
    }

    std::array<Gesture, kRoom> ring_{};
    std::atomic<std::uint64_t> put_{0}, taken_{0};
    std::array<bool, kParameterCount> open_{};  // what was put as begun and not as ended
    std::array<Kept, kParameterCount> kept_{};
    std::size_t oldest_ = 0, kept_count_ = 0;
};

}  // namespace terrain
