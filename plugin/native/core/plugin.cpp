#include "core/plugin.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>

#include "bridge/clock.h"
#include "bridge/log.h"
#include "bridge/supervisor.h"
#include "core/held_notes.h"
#include "core/output.h"
#include "core/state.h"
#include "generated/parameters.h"

namespace terrain {
namespace {

using bridge::EngineLink;
using bridge::EventKind;
using bridge::kMillisecond;
using bridge::kSecond;
using bridge::now_ns;

constexpr std::uint32_t kLongestRequest = 8192;  // samples; a longer block is made in pieces
constexpr std::uint32_t kMostPending = 64;       // notes that may come in blocks of no samples
constexpr std::int64_t kActivationPatience = 10 * kSecond;
constexpr std::int64_t kSavePatience = kSecond / 2;
constexpr double kDeadline = 0.8;  // of a block's duration: the rest is for the host and its other plugins
constexpr double kLowestRate = 1000.0, kHighestRate = 1536000.0;

// Room in a request besides the host's own events: every parameter twice (news, line ends), notes, all-notes-off.
constexpr std::uint32_t kOwnEvents = 2 * kParameterCount + HeldNotes::kMostTold + 16 + kMostPending;
static_assert(kOwnEvents < bridge::kMaxEvents / 2, "a request has room for the host's events");
constexpr std::uint32_t kHostEvents = bridge::kMaxEvents - kOwnEvents;

Event parameter_event(std::uint32_t index, std::uint32_t offset, double value) {
    Event event{};
    event.offset = offset;
    event.kind = static_cast<std::uint16_t>(EventKind::kParameter);
    event.id = kParameters[index].id;
    event.note_id = event.key = event.channel = -1;
    event.value = value;
    return event;
}

Event all_notes_off(int channel) {
    Event event{};
    event.kind = static_cast<std::uint16_t>(EventKind::kMidi);
    event.size = 3;
    event.data[0] = static_cast<std::uint8_t>(0xB0 | channel);
    event.data[1] = 123;
    return event;
}

std::string on_one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

bool is_parameter(const Event& event) { return event.kind == static_cast<std::uint16_t>(EventKind::kParameter); }

// Index of the parameter that an event sets; kParameterCount if it is something else, or nobody may set it.
std::uint32_t parameter_set_by(const Event& event) {
    if (!is_parameter(event) || std::isnan(event.value)) return kParameterCount;
    const std::uint32_t index = index_of(event.id);
    return index < kParameterCount && !kParameters[index].read_only ? index : kParameterCount;
}

const std::uint32_t kStatusIndex = index_of(kStatus);
const std::uint32_t kBypassIndex = index_of(kBypass);
const std::uint32_t kLoopStateIndex = index_of(kLoopState);
const std::uint32_t kLoopPhaseIndex = index_of(kLoopPhase);

}  // namespace

class Plugin::Implementation final : bridge::Supervisor::Owner {
public:
    explicit Implementation(Listener& listener) : listener_(listener), supervisor_(*this) {
        for (std::uint32_t i = 0; i < kParameterCount; ++i) values_[i] = kParameters[i].initial;
    }
    ~Implementation() override { supervisor_.give_back(link_); }

    // ---- main thread ----

    bool activate(double sample_rate, std::uint32_t max_block) {
        if (!(sample_rate >= kLowestRate && sample_rate <= kHighestRate) || max_block == 0) return false;
        const std::uint32_t longest = std::min(max_block, kLongestRequest);
        if (sample_rate != sample_rate_ || longest != max_request_) supervisor_.give_back(std::exchange(link_, nullptr));
        sample_rate_ = sample_rate;
        max_request_ = longest;
        begin_stream();
        supervisor_.want(sample_rate, longest);
        supervisor_.wait_until_settled(kActivationPatience);
        return true;
    }

    void set_parameter(std::uint32_t index, double plain) {
        if (index >= kParameterCount || kParameters[index].read_only || std::isnan(plain)) return;
        values_[index] = clamp(kParameters[index], plain);
        news_[index] = true;
    }

    std::vector<std::uint8_t> save_state() {
        auto loops = supervisor_.ask_for_loops(kSavePatience);
        const std::lock_guard lock(state_mutex_);
        if (loops) state_.set_chunk("LOOP", std::move(*loops));
        return whole_state();
    }

    bool restore_state(const std::uint8_t* data, std::size_t size, std::string& problem) {
        State found;
        if (!found.from_bytes(data, size, problem)) {
            bridge::log_line(problem);
            return false;
        }
        {
            const std::lock_guard lock(state_mutex_);
            take_values(found);
            state_ = std::move(found);
        }
        supervisor_.send_state();
        return true;
    }

    void set_about(const std::string& host, const std::string& track) {
        {
            const std::lock_guard lock(state_mutex_);
            about_ = on_one_line(host) + "\n" + on_one_line(track);
        }
        supervisor_.send_about();
    }

    bool open_editor() { return supervisor_.open_editor(); }

    // ---- the thread that tells the host of gestures ----

    bool claim_gestures() { return !telling_.test_and_set(std::memory_order_acquire); }
    const Gesture* next_gesture() { return gestures_.front(); }
    void gesture_told() { gestures_.pop(); }
    void release_gestures() { telling_.clear(std::memory_order_release); }

    // ---- audio thread ----

    void begin_stream() {
        reset_due_ = true;
        notes_.clear();
        pending_count_ = 0;
        fade_.reset();
        dry_.reset();
        dry_share_ = values_[kBypassIndex] > 0.5 ? 1.0f : 0.0f;
    }

    bool process(const AudioBlock& block) {
        if (block.samples == 0) {
            for (std::uint32_t i = 0; i < block.event_count; ++i) keep_for_later(block.events[i]);
            return true;
        }
        ++blocks_;
        deadline_ns_ = block.deadline_ns ? block.deadline_ns : deadline_ns(block.samples);
        for (std::uint32_t i = 0; i < kParameterCount; ++i) line_from_[i] = {-1, values_[i]};
        bool silent = true;
        Piece piece;
        while (next_piece(block, piece)) {
            const bool made = block.offline ? ask_offline(block, piece) : ask_live(block, piece);
            silent = deliver(block, piece, made) && silent;
        }
        return silent;
    }

    std::int64_t deadline_ns(std::uint32_t samples) const {
        return now_ns() + static_cast<std::int64_t>(samples / sample_rate_ * kSecond * kDeadline);
    }

    // ---- any thread ----

    std::uint32_t latency_samples() const { return supervisor_.latency(); }
    std::uint32_t tail_samples() const { return supervisor_.tail(); }
    double parameter(std::uint32_t index) const {
        if (index == kStatusIndex) return static_cast<double>(supervisor_.status());
        return index < kParameterCount ? values_[index].load(std::memory_order_relaxed) : 0.0;
    }
    Counters counters() const { return {blocks_, late_, supervisor_.restarts(), engine_ns_, supervisor_.engine_pid()}; }

private:
    // A stretch of a block that fits one request.
    struct Piece {
        std::uint32_t begin = 0, end = 0;              // samples of the block
        std::uint32_t first_event = 0, last_event = 0; // half-open
    };

    struct LinePoint {
        std::int64_t offset;
        double value;
    };

    // ---- what the supervisor asks ----

    bridge::Bytes state_for_engine() override {
        const std::lock_guard lock(state_mutex_);
        return whole_state();
    }
    void status_changed() override { listener_.status_changed(); }
    void latency_changed() override { listener_.latency_changed(); }
    std::string about() override {
        const std::lock_guard lock(state_mutex_);
        return about_;
    }
    void hear_gesture(const bridge::GestureRecord& record) override {
        const std::uint32_t index = index_of(record.id);
        if (index == kParameterCount) return;
        const Gesture gesture{index, static_cast<bridge::GestureKind>(record.kind),
                              std::isnan(record.value) ? record.value : clamp(kParameters[index], record.value)};
        gestures_news_ = gestures_.put(gesture) || gestures_news_;
    }
    void gestures_heard() override {
        gestures_news_ = gestures_.put_kept() || gestures_news_;
        if (std::exchange(gestures_news_, false)) listener_.gestures_came();
    }
    void hand_gone() override {
        gestures_news_ = gestures_.end_all() || gestures_news_;
        gestures_heard();
    }

    // ---- state; under state_mutex_ ----

    std::vector<std::uint8_t> whole_state() const {
        State whole = state_;  // its values are those of parameters that this version does not know
        for (std::uint32_t i = 0; i < kParameterCount; ++i)
            if (!kParameters[i].read_only) whole.values.emplace_back(kParameters[i].id, values_[i].load());
        std::sort(whole.values.begin(), whole.values.end());
        return whole.to_bytes();
    }

    // Take over the values of known parameters, defaults for those that are not there; leave the unknown ones.
    void take_values(State& found) {
        std::array<double, kParameterCount> values;
        for (std::uint32_t i = 0; i < kParameterCount; ++i) values[i] = kParameters[i].initial;
        const auto known = [&values](const std::pair<std::uint32_t, double>& row) {
            const std::uint32_t index = index_of(row.first);
            if (index < kParameterCount) values[index] = clamp(kParameters[index], row.second);
            return index < kParameterCount;
        };
        found.values.erase(std::remove_if(found.values.begin(), found.values.end(), known), found.values.end());
        for (std::uint32_t i = 0; i < kParameterCount; ++i) set_parameter(i, values[i]);
    }

    // ---- cutting a block into pieces ----

    bool next_piece(const AudioBlock& block, Piece& piece) const {
        if (piece.end == block.samples) return false;
        piece.begin = piece.end;
        piece.first_event = piece.last_event;
        piece.end = std::min(block.samples, piece.begin + max_request_);
        std::uint32_t event = piece.first_event;
        const std::uint32_t full = std::min(block.event_count, event + kHostEvents);
        while (event < full && offset_in(block, event) < piece.end) ++event;
        if (event == full && event < block.event_count && offset_in(block, event) < piece.end) {
            // No room for this one: it begins the next piece, with those of the same sample.
            piece.end = std::max(piece.begin + 1, offset_in(block, event));
            while (event > piece.first_event && offset_in(block, event - 1) >= piece.end) --event;
        }
        piece.last_event = event;
        return true;
    }

    static std::uint32_t offset_in(const AudioBlock& block, std::uint32_t event) {
        return std::min(block.events[event].offset, block.samples - 1);
    }

    // ---- asking ----

    bool ask_live(const AudioBlock& block, const Piece& piece) {
        take_new_link();
        if (!link_ || link_->lost()) return false;
        if (link_->outstanding()) {
            ++late_;
            return false;
        }
        write_request(block, piece);
        link_->submit(false);
        const auto outcome = link_->wait(deadline_ns_);
        late_ += outcome == EngineLink::Outcome::kLate;
        return outcome == EngineLink::Outcome::kAnswered;
    }

    // As long as there is an engine, or hope for one.
    bool ask_offline(const AudioBlock& block, const Piece& piece) {
        constexpr std::int64_t kGlance = 100 * kMillisecond;
        while (true) {
            take_new_link();
            if (!link_ || link_->lost() || supervisor_.state_pending()) {
                if (supervisor_.hopeless()) return false;
                ::poll(nullptr, 0, 1);
                continue;
            }
            if (link_->outstanding()) {  // asked live, before the host changed its mind
                link_->wait(now_ns() + kGlance);
                continue;
            }
            write_request(block, piece);
            link_->submit(true);
            auto outcome = EngineLink::Outcome::kLate;
            while (outcome == EngineLink::Outcome::kLate) outcome = link_->wait(now_ns() + kGlance);
            if (outcome == EngineLink::Outcome::kAnswered) return true;
            tell_all_ = true;
        }
    }

    void take_new_link() {
        EngineLink* link = supervisor_.take_new_link();
        if (!link) return;
        supervisor_.give_back(link_);
        link_ = link;
        tell_all_ = true;
    }

    void write_request(const AudioBlock& block, const Piece& piece) {
        auto& memory = link_->memory();
        bridge::Request& request = memory.request();
        // Before the values: those of an older state than the engine's are of no use to it, and are told again.
        request.state_id = supervisor_.wanted_state();
        tell_values_ = std::exchange(told_state_, request.state_id) != request.state_id;
        request.samples = piece.end - piece.begin;
        request.flags = (block.offline ? bridge::kOffline : 0u) | (block.lines ? bridge::kLines : 0u) |
                        (reset_due_ ? bridge::kReset : 0u);
        request.lost_samples = lost_samples_;
        write_transport(block, piece, request);
        request.event_count = write_events(block, piece, memory.events());
        if (!block.inputs[0]) return;
        request.flags |= bridge::kAudioIn;
        for (std::uint32_t c = 0; c < bridge::kChannels; ++c)
            std::copy(input(block, c) + piece.begin, input(block, c) + piece.end, memory.audio_in(c));
    }

    static const float* input(const AudioBlock& block, std::uint32_t channel) {
        return block.inputs[channel] ? block.inputs[channel] : block.inputs[0];
    }

    void write_transport(const AudioBlock& block, const Piece& piece, bridge::Request& request) const {
        if (!block.transport) return;
        const Transport& transport = *block.transport;
        const double passed = transport.flags & bridge::kPlaying ? piece.begin / sample_rate_ : 0.0;
        request.flags |= transport.flags | bridge::kHasTransport;
        request.beat = transport.beat + passed * transport.bpm / 60.0;
        request.bpm = transport.bpm;
        request.seconds = transport.seconds + passed;
        request.bar_beat = transport.bar_beat;
        request.cycle_begin = transport.cycle_begin;
        request.cycle_end = transport.cycle_end;
        request.bar = transport.bar;
        request.meter_numerator = transport.meter_numerator;
        request.meter_denominator = transport.meter_denominator;
    }

    // ---- events ----

    std::uint32_t write_events(const AudioBlock& block, const Piece& piece, Event* events) {
        std::uint32_t count = write_news(events);
        for (std::uint32_t i = piece.first_event; i < piece.last_event; ++i) {
            Event& event = events[count++] = block.events[i];
            const std::uint32_t offset = std::max(offset_in(block, i), piece.begin);
            event.offset = offset - piece.begin;
            note_line_point(event, offset);
        }
        if (block.lines && piece.end < block.samples) count += write_line_ends(block, piece, events + count);
        return count;
    }

    // What the engine has to know before the host's own events: all there is after a gap, else what is new.
    std::uint32_t write_news(Event* events) {
        std::uint32_t count = 0;
        for (std::uint32_t i = 0; i < kParameterCount; ++i)
            if ((news_[i].exchange(false) || tell_all_ || tell_values_) && !kParameters[i].read_only)
                events[count++] = parameter_event(i, 0, values_[i]);
        if (tell_all_) {
            for (int channel = 0; channel < 16; ++channel) events[count++] = all_notes_off(channel);
            count += notes_.tell(events + count);
        } else {
            count = static_cast<std::uint32_t>(std::copy_n(pending_.begin(), pending_count_, events + count) - events);
        }
        return count;
    }

    void note_line_point(const Event& event, std::uint32_t offset) {
        const std::uint32_t index = parameter_set_by(event);
        if (index < kParameterCount) line_from_[index] = {offset, event.value};
    }

    // Where a line crosses from one piece into the next, the piece's last sample gets the line's value there.
    std::uint32_t write_line_ends(const AudioBlock& block, const Piece& piece, Event* events) {
        std::uint32_t count = 0;
        std::array<bool, kParameterCount> seen{};
        for (std::uint32_t i = piece.last_event; i < block.event_count; ++i) {
            const std::uint32_t index = parameter_set_by(block.events[i]);
            if (index == kParameterCount || kParameters[index].steps || std::exchange(seen[index], true)) continue;
            const LinePoint from = line_from_[index];
            const std::int64_t at = std::int64_t{piece.end} - 1;
            const auto length = static_cast<double>(std::int64_t{offset_in(block, i)} - from.offset);
            const double share = length > 0 ? static_cast<double>(at - from.offset) / length : 1.0;
            const double value = from.value + (block.events[i].value - from.value) * share;
            events[count++] = parameter_event(index, piece.end - 1 - piece.begin, value);
            line_from_[index] = {at, value};
        }
        return count;
    }

    // An event that comes when nothing can be asked.
    void keep_for_later(const Event& event) {
        const std::uint32_t index = parameter_set_by(event);
        if (index < kParameterCount) set_parameter(index, event.value);
        if (is_parameter(event)) return;
        notes_.follow(event);
        if (pending_count_ < kMostPending) {
            pending_[pending_count_] = event;
            pending_[pending_count_++].offset = 0;
        }
    }

    // After a piece: its events are part of what is known of parameters and notes.
    void remember(const AudioBlock& block, const Piece& piece) {
        for (std::uint32_t i = piece.first_event; i < piece.last_event; ++i) {
            const std::uint32_t index = parameter_set_by(block.events[i]);
            if (index < kParameterCount) values_[index] = clamp(kParameters[index], block.events[i].value);
            notes_.follow(block.events[i]);
        }
    }

    // ---- sound ----

    // Give the host its sound; whether it is all zeros.
    bool deliver(const AudioBlock& block, const Piece& piece, bool made) {
        const std::uint32_t samples = piece.end - piece.begin;
        float* wet[2] = {wet_[0].data(), wet_[1].data()};
        bool silent = true;
        if (made) {
            const bridge::Reply& reply = link_->memory().reply();
            for (std::uint32_t c = 0; c < bridge::kChannels; ++c)
                std::copy_n(link_->memory().audio_out(c), samples, wet[c]);
            silent = reply.silent != 0;
            engine_ns_ = reply.spent_ns;
            read_out(kLoopStateIndex, reply.loop_state);
            read_out(kLoopPhaseIndex, reply.loop_phase);
            reset_due_ = tell_all_ = false;
            lost_samples_ = pending_count_ = 0;
        } else {
            for (float* channel : wet) std::fill_n(channel, samples, 0.0f);
            lost_samples_ += samples;
            tell_all_ = true;
        }
        silent = !fade_.apply(wet, samples, !made) && silent;
        silent = mix_dry(block, piece, wet) && silent;
        remember(block, piece);
        write_outputs(block, piece, wet);
        return silent;
    }

    // What the engine says of itself, in a parameter that only it sets.
    void read_out(std::uint32_t index, double plain) {
        if (!std::isnan(plain)) values_[index].store(clamp(kParameters[index], plain), std::memory_order_relaxed);
    }

    // Cross-fade to the incoming audio where Bypass is on. Reads the inputs before in-place outputs are written.
    bool mix_dry(const AudioBlock& block, const Piece& piece, float* const wet[2]) {
        bool wet_only = true;
        bool bypassed = values_[kBypassIndex] > 0.5;
        std::uint32_t event = piece.first_event;
        const std::uint32_t delay = latency_samples();
        for (std::uint32_t i = piece.begin; i < piece.end; ++i) {
            for (; event < piece.last_event && offset_in(block, event) <= i; ++event)
                if (parameter_set_by(block.events[event]) == kBypassIndex) bypassed = block.events[event].value > 0.5;
            const float in[2] = {block.inputs[0] ? block.inputs[0][i] : 0.0f,
                                 block.inputs[0] ? input(block, 1)[i] : 0.0f};
            float dry[2];
            dry_.step(in, dry, delay);
            if (bypassed || dry_share_ > 0.0f) {
                const float step = (bypassed ? 1.0f : -1.0f) / kFadeSamples;
                dry_share_ = std::clamp(dry_share_ + step, 0.0f, 1.0f);
                for (int c = 0; c < 2; ++c) {
                    float& sample = wet[c][i - piece.begin];
                    sample = dry_share_ == 1.0f ? dry[c] : sample + (dry[c] - sample) * dry_share_;
                }
                wet_only = false;
            }
        }
        return wet_only;
    }

    static void write_outputs(const AudioBlock& block, const Piece& piece, float* const wet[2]) {
        const std::uint32_t samples = piece.end - piece.begin;
        if (block.outputs[0] && block.outputs[1]) {
            for (int c = 0; c < 2; ++c) std::copy_n(wet[c], samples, block.outputs[c] + piece.begin);
        } else if (float* mono = block.outputs[0]) {
            for (std::uint32_t i = 0; i < samples; ++i) mono[piece.begin + i] = 0.5f * (wet[0][i] + wet[1][i]);
        }
    }

    Listener& listener_;

    std::array<std::atomic<double>, kParameterCount> values_;
    std::array<std::atomic<bool>, kParameterCount> news_{};  // set from outside: the engine does not know yet
    std::mutex state_mutex_;
    State state_;  // what is not parameters: the instrument, loops, what a newer version left
    std::string about_ = "\n";  // the host's name, the track's

    GestureQueue gestures_;  // the supervisor's thread puts, whoever tells the host takes
    bool gestures_news_ = false;  // the supervisor's thread's own
    std::atomic_flag telling_ = ATOMIC_FLAG_INIT;

    // Audio thread (or main thread, while inactive).
    double sample_rate_ = 0.0;
    std::uint32_t max_request_ = 0;
    EngineLink* link_ = nullptr;
    std::int64_t deadline_ns_ = 0;
    bool reset_due_ = false;
    bool tell_all_ = false;  // the engine may have missed something
    bool tell_values_ = false;  // the engine may have another state than the request before was made for
    std::uint32_t told_state_ = 0;
    std::uint32_t lost_samples_ = 0;
    HeldNotes notes_;
    std::array<Event, kMostPending> pending_{};
    std::uint32_t pending_count_ = 0;
    std::array<LinePoint, kParameterCount> line_from_{};
    std::array<std::array<float, kLongestRequest>, 2> wet_{};
    GapFade fade_;
    DryPath dry_;
    float dry_share_ = 0.0f;

    std::atomic<std::uint64_t> blocks_{0}, late_{0}, engine_ns_{0};

    bridge::Supervisor supervisor_;  // last: it calls on all the others until it ends
};

ReadOuts::ReadOuts() : index_{kStatusIndex, kLoopStateIndex, kLoopPhaseIndex} {}

Plugin::Plugin(Listener& listener) : implementation_(std::make_unique<Implementation>(listener)) {}
Plugin::~Plugin() = default;
bool Plugin::activate(double sample_rate, std::uint32_t max_block) {
    return implementation_->activate(sample_rate, max_block);
}
void Plugin::deactivate() {}  // the engine stays: hosts that deactivate mostly activate again
void Plugin::reset() { implementation_->begin_stream(); }
bool Plugin::process(const AudioBlock& block) { return implementation_->process(block); }
std::int64_t Plugin::deadline_ns(std::uint32_t samples) const { return implementation_->deadline_ns(samples); }
std::uint32_t Plugin::latency_samples() const { return implementation_->latency_samples(); }
std::uint32_t Plugin::tail_samples() const { return implementation_->tail_samples(); }
bool Plugin::claim_gestures() { return implementation_->claim_gestures(); }
const Gesture* Plugin::next_gesture() { return implementation_->next_gesture(); }
void Plugin::gesture_told() { implementation_->gesture_told(); }
void Plugin::release_gestures() { implementation_->release_gestures(); }
void Plugin::set_about(const std::string& host, const std::string& track) { implementation_->set_about(host, track); }
bool Plugin::open_editor() { return implementation_->open_editor(); }
double Plugin::parameter(std::uint32_t index) const { return implementation_->parameter(index); }
void Plugin::set_parameter(std::uint32_t index, double plain) { implementation_->set_parameter(index, plain); }
std::vector<std::uint8_t> Plugin::save_state() { return implementation_->save_state(); }
bool Plugin::restore_state(const std::uint8_t* data, std::size_t size, std::string& problem) {
    return implementation_->restore_state(data, size, problem);
}
Plugin::Counters Plugin::counters() const { return implementation_->counters(); }

}  // namespace terrain
