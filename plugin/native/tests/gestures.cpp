// The queue between a hand at the editor and the host, with a host that takes irregularly or not at all:
//
//   gestures ROUNDS [SEED]
//
// One thread puts random gestures of several parameters, another takes. What must hold: begins and ends take turns, no
// value stands outside, values come in the order in which they were put, the last one comes, nothing stays open.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "core/gestures.h"

namespace {

using terrain::Gesture;
using terrain::GestureQueue;
using terrain::bridge::GestureKind;

int failures = 0;

void expect(bool holds, const char* what) {
    if (holds) return;
    if (++failures < 10) std::fprintf(stderr, "%s\n", what);
}

// What the host has heard of one parameter.
struct Heard {
    bool open = false;
    double last = 0.0;
    unsigned long values = 0;
};

void take(const Gesture& gesture, std::vector<Heard>& heard) {
    Heard& mine = heard[gesture.index];
    switch (gesture.kind) {
        case GestureKind::kBegin:
            expect(!mine.open, "a gesture begins twice");
            mine.open = true;
            break;
        case GestureKind::kValue:
            expect(mine.open, "a value stands outside a gesture");
            expect(gesture.value > mine.last, "values come out of order");
            mine.last = gesture.value;
            ++mine.values;
            break;
        case GestureKind::kEnd:
            expect(mine.open, "a gesture ends twice");
            mine.open = false;
            break;
    }
}

unsigned long one_round(unsigned seed) {
    constexpr std::uint32_t kHands = 5;
    constexpr int kGestures = 20'000;
    GestureQueue queue;
    std::atomic<bool> done{false};
    std::vector<double> put(kHands, 0.0);
    std::vector<Heard> heard(terrain::kParameterCount);
    std::thread host([&] {
        std::mt19937 random(seed + 1);
        bool more = true;
        while (more) {
            more = !done;  // before the last look
            // Blocks of various lengths, and a host that stands still now and then.
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 20 == 0 ? 5000 : random() % 50));
            for (const Gesture* gesture = queue.front(); gesture; gesture = queue.front()) {
                if (random() % 1000 == 0) break;  // it takes no more for now
                take(*gesture, heard);
                queue.pop();
                more = true;
            }
        }
    });
    std::mt19937 random(seed);
    std::vector<bool> open(kHands, false);
    double value = 0.0;
    for (int n = 0; n < kGestures; ++n) {
        if (random() % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        const std::uint32_t index = random() % kHands;
        switch (random() % 8) {
            case 0:
                queue.put({index, GestureKind::kBegin, 0.0});
                open[index] = true;
                break;
            case 1:
                queue.put({index, GestureKind::kEnd, 0.0});
                open[index] = false;
                break;
            default:
                queue.put({index, GestureKind::kValue, value += 1.0});
                if (open[index]) put[index] = value;
        }
        if (random() % 5000 == 0) {
            queue.end_all();
            open.assign(kHands, false);
        }
    }
    // More at once than there is room for.
    for (std::uint32_t index = 0; index < kHands; ++index) {
        queue.put({index, GestureKind::kBegin, 0.0});
        for (std::size_t n = 0; n < 2 * GestureQueue::kRoom; ++n)
            queue.put({index, GestureKind::kValue, put[index] = value += 1.0});
    }
    queue.put({0, static_cast<GestureKind>(77), 0.0});
    queue.put({terrain::kParameterCount, GestureKind::kBegin, 0.0});
    queue.end_all();
    // The supervisor looks again and again.
    for (int quiet = 0; quiet < 2; quiet = queue.put_kept() || queue.front() ? 0 : quiet + 1)
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    done = true;
    host.join();
    unsigned long values = 0;
    for (std::uint32_t i = 0; i < kHands; ++i) {
        expect(!heard[i].open, "a gesture stays open");
        expect(heard[i].last == put[i], "the last value does not come");
        values += heard[i].values;
    }
    return values;
}

}  // namespace

int main(int count, char** arguments) {
    const int rounds = count > 1 ? std::atoi(arguments[1]) : 5;
    const auto seed = static_cast<unsigned>(count > 2 ? std::atoi(arguments[2]) : 1);
    unsigned long values = 0;
    for (int round = 0; round < rounds; ++round) values += one_round(seed + 2u * static_cast<unsigned>(round));
    std::printf("%d rounds, %lu values, %d failures\n", rounds, values, failures);
    return failures ? 1 : 0;
}
