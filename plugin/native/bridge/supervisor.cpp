#include "bridge/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "bridge/clock.h"
#include "bridge/log.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE is set instead
#endif

namespace terrain::bridge {
namespace {

constexpr std::int64_t kGlance = 200 * kMillisecond;  // how often a running engine is looked at
constexpr std::int64_t kLiveHang = 3 * kSecond;
constexpr std::int64_t kOfflineHang = 60 * kSecond;
constexpr std::int64_t kBirthTimeout = 60 * kSecond;
constexpr std::int64_t kNever = INT64_MAX;

// How long to wait before another engine is started, by the number of engines before it that never played.
constexpr std::int64_t kBackOff[] = {0, kSecond / 10, kSecond / 2, kSecond, 2 * kSecond, 5 * kSecond};
constexpr std::int64_t kBetweenStarts = kSecond / 4;  // at least, when they do play and then die
constexpr std::uint32_t kHopelessFailures = 3;

std::uint32_t next_instance() {
    static std::atomic<std::uint32_t> count{0};
    return ++count;
}

}  // namespace

Supervisor::Supervisor(Owner& owner) : owner_(owner), instance_(next_instance()) {
    std::tie(nudge_in_, nudge_out_) = socket_pair();
}

Supervisor::~Supervisor() {
    if (thread_.joinable()) {
        {
            const std::lock_guard lock(mutex_);
            quit_ = true;
        }
        nudge();
        thread_.join();
    }
    free_links();
}

// ---- main thread ----

void Supervisor::want(double sample_rate, std::uint32_t max_block) {
    {
        const std::lock_guard lock(mutex_);
        const Settings settings{sample_rate, max_block};
        const Status status = this->status();
        const bool playing = wanted_ && *wanted_ == settings && status != Status::kNoEngine &&
                             status != Status::kWrongVersion && status != Status::kOff;
        if (playing) return;
        wanted_ = settings;
        settled_ = false;
        at_once_ = true;
    }
    if (!nursery_) nursery_ = Nursery::shared();
    if (!thread_.joinable()) thread_ = std::thread(&Supervisor::run, this);
    nudge();
}

void Supervisor::wait_until_settled(std::int64_t patience_ns) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::nanoseconds(patience_ns), [this] { return settled_; });
}

void Supervisor::send_state() {
    {
        const std::lock_guard lock(mutex_);
        state_due_ = true;
        state_pending_ = true;
        ++wanted_state_;
    }
    nudge();
}

void Supervisor::send_about() {
    {
        const std::lock_guard lock(mutex_);
        about_due_ = true;
    }
    nudge();
}

bool Supervisor::open_editor() {
    if (status() != Status::kReady && status() != Status::kLoading) return false;
    {
        const std::lock_guard lock(mutex_);
        editor_due_ = true;
    }
    nudge();
    return true;
}

std::optional<Bytes> Supervisor::ask_for_loops(std::int64_t patience_ns) {
    if (status() != Status::kReady && status() != Status::kLoading) return std::nullopt;
    std::unique_lock lock(mutex_);
    const std::uint32_t asked = ++save_asked_;
    nudge();
    const bool answered = changed_.wait_for(lock, std::chrono::nanoseconds(patience_ns),
                                            [this, asked] { return save_answered_ >= asked; });
    return answered ? std::optional(loops_) : std::nullopt;
}

// ---- audio thread ----

void Supervisor::give_back(EngineLink* link) {
    if (!link) return;
    link->next = given_back_.load(std::memory_order_relaxed);
    while (!given_back_.compare_exchange_weak(link->next, link, std::memory_order_release)) {
    }
}

// ---- the supervisor's thread ----

void Supervisor::run() {
    // The host's signals are for the host's threads.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    while (true) {
        {
            const std::lock_guard lock(mutex_);
            if (quit_) break;
        }
        work_once();
    }
    dismiss_engine();
}

void Supervisor::work_once() {
    free_links();
    std::optional<Settings> wanted;
    {
        const std::lock_guard lock(mutex_);
        wanted = wanted_;
        if (std::exchange(at_once_, false)) next_attempt_ns_ = 0;
    }
    if (control_ && running_ && wanted && !(*running_ == *wanted)) dismiss_engine();
    if (!control_ && wanted && now_ns() >= next_attempt_ns_) {
        running_ = wanted;
        start_engine();
    }
    send_what_is_due();
    sleep(control_ ? now_ns() + kGlance : next_attempt_ns_);
    receive_messages();
    owner_.gestures_heard();
    watch_for_hang();
}

void Supervisor::start_engine() {
    set_status(failures_ > 0 || restarts_ > 0 ? Status::kRestarting : Status::kStarting);
    started_ns_ = now_ns();
    SharedMemory memory(running_->sample_rate, running_->max_block);
    auto [wake, their_wake] = socket_pair();
    auto [control, their_control] = socket_pair();
    Birth birth{Birth::Result::kDied, 0, "the system gives no memory or sockets for an engine"};
    const Bytes state = owner_.state_for_engine();
    if (memory && wake && control)
        birth = nursery_->bear(instance_, state_id_ = ++wanted_state_, state, memory.descriptor(), their_wake.number(),
                               their_control.number());
    if (birth.result == Birth::Result::kBorn) {
        control_ = Connection(std::move(control));
        link_ = new EngineLink(std::move(memory), std::move(wake));
        published_ = false;
        engine_ = birth.pid;
        const std::lock_guard lock(mutex_);
        about_due_ = true;
        return;
    }
    log_line(birth.problem);
    const bool wrong = birth.result == Birth::Result::kWrongVersion;
    ++failures_;
    next_attempt_ns_ = wrong ? kNever : now_ns() + kBackOff[std::min<std::size_t>(failures_, std::size(kBackOff) - 1)];
    hopeless_ = wrong || birth.result == Birth::Result::kNoInterpreter || failures_ >= kHopelessFailures;
    set_status(wrong ? Status::kWrongVersion : hopeless_ ? Status::kNoEngine : Status::kRestarting);
    if (hopeless_) settle();
}

void Supervisor::engine_lost(const char* why) {
    const bool had_played = published_ && link_ && link_->has_answered();
    log_line("engine " + std::to_string(engine_) + " " + why);
    dismiss_engine();
    ++restarts_;
    failures_ = had_played ? 0 : failures_ + 1;
    const auto pause = kBackOff[std::min<std::size_t>(failures_, std::size(kBackOff) - 1)];
    next_attempt_ns_ = std::max(now_ns() + pause, started_ns_ + kBetweenStarts);
    hopeless_ = failures_ >= kHopelessFailures;
    set_status(hopeless_ ? Status::kNoEngine : Status::kRestarting);
    if (hopeless_) settle();
}

// Close the engine's control connection, which ends it. Its link is freed when the audio thread gives it back.
void Supervisor::dismiss_engine() {
    control_.close();
    control_ = Connection();
    if (link_ && !published_) delete link_;
    delete incoming_.exchange(nullptr, std::memory_order_acq_rel);
    link_ = nullptr;
    published_ = false;
    engine_ = 0;
    owner_.hand_gone();
    const std::lock_guard lock(mutex_);
    save_answered_ = save_asked_;  // nobody is left who could answer
    changed_.notify_all();
}

void Supervisor::receive_messages() {
    if (!control_) return;
    while (auto message = control_.receive(0)) handle(*message);
    if (!control_) engine_lost("is gone");
}

void Supervisor::handle(const Received& message) {
    if (message.type == Message::kReady) {
        const auto ready = message.record<Ready>();
        if (!ready) return;
        const bool changed = latency_.exchange(ready->latency) != ready->latency;
        tail_ = ready->tail;
        if (!published_) {
            published_ = true;
            delete incoming_.exchange(link_, std::memory_order_acq_rel);
        }
        hopeless_ = false;
        if (ready->state_id == state_id_) set_status(Status::kReady);
        settle_state(ready->state_id);
        settle();
        if (changed) owner_.latency_changed();
    } else if (message.type == Message::kFault) {
        const Bytes text = message.after<State>();
        log_line("engine " + std::to_string(engine_) + ": " + std::string(text.begin(), text.end()));
        const auto about = message.record<State>();
        if (published_ && about && about->state_id == state_id_) set_status(Status::kReady);
        if (published_ && about) settle_state(about->state_id);
    } else if (message.type == Message::kSaved) {
        const auto about = message.record<State>();
        if (!about) return;
        const std::lock_guard lock(mutex_);
        loops_ = message.after<State>();
        save_answered_ = about->state_id;
        changed_.notify_all();
    } else if (message.type == Message::kGestures) {
        GestureRecord gesture;
        for (std::size_t at = 0; at + sizeof gesture <= message.payload.size(); at += sizeof gesture) {
            std::memcpy(&gesture, message.payload.data() + at, sizeof gesture);
            owner_.hear_gesture(gesture);
        }
    }
}

void Supervisor::send_what_is_due() {
    if (!control_) return;
    bool state_due, about_due, editor_due;
    std::uint32_t save = 0;
    {
        const std::lock_guard lock(mutex_);
        state_due = std::exchange(state_due_, false);
        if (state_due) state_id_ = wanted_state_;
        about_due = std::exchange(about_due_, false);
        editor_due = std::exchange(editor_due_, false);
        if (save_asked_ != save_sent_) save = save_sent_ = save_asked_;
    }
    if (about_due) {
        const std::string about = owner_.about();
        control_.send(Message::kAbout, Bytes(about.begin(), about.end()));
    }
    if (editor_due) nursery_->open_editor(instance_);
    if (state_due) {
        const Bytes state = owner_.state_for_engine();
        set_status(published_ ? Status::kLoading : Status::kStarting);
        control_.send(Message::kState, payload(State{state_id_}, state));
    }
    if (save != 0) control_.send(Message::kSave, payload(State{save}));
}

void Supervisor::watch_for_hang() {
    if (!control_ || !link_) return;
    const bool unborn = !published_ && now_ns() - started_ns_ > kBirthTimeout;
    const std::int64_t limit = link_->waiting_offline() ? kOfflineHang : kLiveHang;
    const bool stuck = published_ && !link_->loading() && link_->waiting_ns() > limit;
    if (!unborn && !stuck) return;
    ::kill(engine_, SIGKILL);
    engine_lost("did not answer and was ended");
}

void Supervisor::free_links() {
    EngineLink* link = given_back_.exchange(nullptr, std::memory_order_acquire);
    while (link) {
        if (link == link_) link_ = nullptr;
        delete std::exchange(link, link->next);
    }
}

// Until something is heard from the engine or the main thread, or the time has come.
void Supervisor::sleep(std::int64_t until_ns) {
    const std::int64_t left = std::clamp<std::int64_t>(until_ns - now_ns(), 0, kSecond);
    pollfd heard[] = {{nudge_out_.number(), POLLIN, 0}, {control_ ? control_.descriptor() : -1, POLLIN, 0}};
    ::poll(heard, 2, static_cast<int>((left + kMillisecond - 1) / kMillisecond));
    char bytes[64];
    if (heard[0].revents)
        while (::recv(nudge_out_.number(), bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
        }
}

void Supervisor::nudge() {
    const char byte = 1;
    ::send(nudge_in_.number(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Supervisor::set_status(Status status) {
    if (status_.exchange(status) != status) owner_.status_changed();
}

void Supervisor::settle() {
    const std::lock_guard lock(mutex_);
    // What the engine before says of itself settles nothing about the one that is wanted by now.
    settled_ = running_ && wanted_ && *running_ == *wanted_;
    changed_.notify_all();
}

// An answer about a state came; it is the last one if no newer state is on its way.
void Supervisor::settle_state(std::uint32_t state_id) {
    const std::lock_guard lock(mutex_);
    if (!state_due_ && state_id == state_id_) state_pending_ = false;
}

}  // namespace terrain::bridge
