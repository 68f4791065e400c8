// What is done to the engine's sound on its way to the host: fades around gaps, bypass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace terrain {

constexpr std::uint32_t kFadeSamples = 64;  // long enough to be no click, short enough to be no fade

// Fades to silence where the engine's sound is missing and back in where it goes on. Elsewhere it changes no sample.
class GapFade {
public:
    void reset() { *this = GapFade(); }

    // Of one channel pair, in place; whether something was added to it, so that silence is none any more.
    bool apply(float* const channels[2], std::uint32_t samples, bool missing) {
        if (missing && !missing_) begin_gap();
        missing_ = missing;
        const bool adds = fallen_ < kFadeSamples;
        if (!busy()) {
            for (int c = 0; c < 2; ++c) last_[c] = channels[c][samples - 1];
            return adds;
        }
        for (std::uint32_t i = 0; i < samples; ++i) {
            const float gain = missing ? 0.0f : static_cast<float>(risen_) / kFadeSamples;
            const float rest = static_cast<float>(kFadeSamples - fallen_) / kFadeSamples;
            for (int c = 0; c < 2; ++c)
                channels[c][i] = last_[c] = (missing ? 0.0f : channels[c][i] * gain) + from_[c] * rest;
            fallen_ = std::min(fallen_ + 1, kFadeSamples);
            if (!missing) risen_ = std::min(risen_ + 1, kFadeSamples);
        }
        return adds;
    }

    // Whether it changes samples at present.
    bool busy() const { return missing_ || risen_ < kFadeSamples || fallen_ < kFadeSamples; }

private:
    void begin_gap() {
        std::copy(last_, last_ + 2, from_);
        fallen_ = 1;  // the next sample is already lower
        risen_ = 0;
    }

    bool missing_ = false;
    float last_[2] = {}, from_[2] = {};
    std::uint32_t risen_ = kFadeSamples, fallen_ = kFadeSamples;
};

// Incoming audio, as late as the engine's.
class DryPath {
public:
    DryPath() : ring_{std::vector<float>(kLength), std::vector<float>(kLength)} {}

    void reset() {
        for (auto& channel : ring_) std::fill(channel.begin(), channel.end(), 0.0f);
    }

    // One sample of both channels in, the one that came `delay` samples ago out.
    void step(const float in[2], float out[2], std::uint32_t delay) {
        for (int c = 0; c < 2; ++c) {
            ring_[c][at_ & kMask] = in[c];
            out[c] = ring_[c][(at_ - std::min(delay, kMask)) & kMask];
        }
        ++at_;
    }

private:
    static constexpr std::uint32_t kLength = 1u << 16, kMask = kLength - 1;
    std::vector<float> ring_[2];
    std::uint32_t at_ = 0;
};

}  // namespace terrain
