// The thread that starts a plugin's engine, watches it, replaces it, and talks to it about states.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "bridge/engine_link.h"
#include "bridge/messages.h"
#include "bridge/nursery.h"
#include "generated/parameters.h"

namespace terrain::bridge {

class Supervisor {
public:
    // Whom it works for. Called on the supervisor's thread, which holds no lock then.
    class Owner {
    public:
        virtual ~Owner() = default;
        virtual Bytes state_for_engine() = 0;  // the whole plugin state, as it is now
        virtual void status_changed() = 0;
        virtual void latency_changed() = 0;
        virtual std::string about() = 0;  // whose instance it is: payload of Message::kAbout
        virtual void hear_gesture(const GestureRecord& gesture) = 0;
        virtual void gestures_heard() = 0;  // after some of them, and now and then besides
        virtual void hand_gone() = 0;       // the engine is gone, and with it whoever held something
    };

    explicit Supervisor(Owner& owner);
    ~Supervisor();  // ends the engine; the audio thread has given back its link before
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

    // ---- main thread ----

    // Have an engine for this rate and block size; one that there is already for the same is kept.
    void want(double sample_rate, std::uint32_t max_block);
    // Until it plays, or it is clear that it will not for now, or the time is over.
    void wait_until_settled(std::int64_t patience_ns);
    // The state has changed: tell the engine.
    void send_state();
    // Owner::about() has changed: tell the engine.
    void send_about();
    // Have the editor opened for this instance, if an engine runs; whether one does.
    bool open_editor();
    // What the engine must remember (loops); nothing if there is no engine or it does not say within the time.
    std::optional<Bytes> ask_for_loops(std::int64_t patience_ns);

    // ---- audio thread ----

    // A new engine, or null if there is none since the last call. The caller gives its former one back.
    EngineLink* take_new_link() { return incoming_.exchange(nullptr, std::memory_order_acq_rel); }
    void give_back(EngineLink* link);

    // ---- any thread ----

    Status status() const { return status_.load(std::memory_order_relaxed); }
    std::uint32_t latency() const { return latency_.load(std::memory_order_relaxed); }
    std::uint32_t tail() const { return tail_.load(std::memory_order_relaxed); }
    std::uint64_t restarts() const { return restarts_.load(std::memory_order_relaxed); }
    pid_t engine_pid() const { return engine_.load(std::memory_order_relaxed); }
    // Whether the engine has yet to become what the newest state says.
    bool state_pending() const { return state_pending_.load(std::memory_order_acquire); }
    // The number of the newest state that was asked for: parameters that are read after it go with that state, or a
    // newer one.
    std::uint32_t wanted_state() const { return wanted_state_.load(std::memory_order_acquire); }
    // Whether waiting for an engine makes no sense for now.
    bool hopeless() const { return hopeless_.load(std::memory_order_relaxed); }

private:
    struct Settings {
        double sample_rate;
        std::uint32_t max_block;
        bool operator==(const Settings& other) const {
            return sample_rate == other.sample_rate && max_block == other.max_block;
        }
    };

    void run();
    void work_once();
    void start_engine();
    void engine_lost(const char* why);
    void dismiss_engine();
    void receive_messages();
    void handle(const Received& message);
    void send_what_is_due();
    void watch_for_hang();
    void free_links();
    void sleep(std::int64_t until_ns);
    void nudge();
    void set_status(Status status);
    void settle();
    void settle_state(std::uint32_t state_id);

    Owner& owner_;
    const std::uint32_t instance_;
    std::shared_ptr<Nursery> nursery_;

    // Shared with the main thread, under mutex_.
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Settings> wanted_;
    bool quit_ = false;
    bool state_due_ = false;
    bool about_due_ = false;
    bool editor_due_ = false;
    bool settled_ = false;
    bool at_once_ = false;  // the next attempt need not wait for its time
    std::uint32_t save_asked_ = 0, save_sent_ = 0, save_answered_ = 0;
    Bytes loops_;

    // The supervisor thread's own.
    std::optional<Settings> running_;
    Connection control_;
    EngineLink* link_ = nullptr;  // of the running engine: held back until it is ready, then the audio thread's
    bool published_ = false;
    std::int64_t started_ns_ = 0, next_attempt_ns_ = 0;
    std::uint32_t failures_ = 0, state_id_ = 0;

    std::atomic<EngineLink*> incoming_{nullptr};
    std::atomic<EngineLink*> given_back_{nullptr};
    std::atomic<Status> status_{Status::kOff};
    std::atomic<std::uint32_t> latency_{0}, tail_{0};
    std::atomic<std::uint64_t> restarts_{0};
    std::atomic<pid_t> engine_{0};
    std::atomic<std::uint32_t> wanted_state_{0};
    std::atomic<bool> hopeless_{false}, state_pending_{false};

    Descriptor nudge_in_, nudge_out_;
    std::thread thread_;
};

}  // namespace terrain::bridge
