#include "bridge/nursery.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "bridge/clock.h"
#include "bridge/interpreter.h"
#include "bridge/log.h"

extern char** environ;

namespace terrain::bridge {
namespace {

constexpr int kStartTimeoutMs = 30'000;  // a cold disk under a large Python installation
constexpr int kNurseryDescriptor = 3;

bool begins_with(const char* text, const char* start) { return std::strncmp(text, start, std::strlen(start)) == 0; }

// One thread each: an engine's work is too small to share, and only one thread lives on in a fork.
char kOneOpenMp[] = "OMP_NUM_THREADS=1", kOneOpenBlas[] = "OPENBLAS_NUM_THREADS=1";

// The host's environment without what would lead Python astray: hosts set library paths for themselves.
std::vector<char*> environment_for_python() {
    std::vector<char*> kept = {kOneOpenMp, kOneOpenBlas};
    for (char** entry = environ; *entry; ++entry) {
        bool harmful = false;
        for (const char* name : {"LD_LIBRARY_PATH=", "LD_PRELOAD=", "DYLD_", "PYTHONHOME=", "PYTHONPATH=", "OMP_NUM_THREADS=",
                                 "OPENBLAS_NUM_THREADS="})
            harmful = harmful || begins_with(*entry, name);
        if (!harmful) kept.push_back(*entry);
    }
    kept.push_back(nullptr);
    return kept;
}

// posix_spawn's settings, undone at the end.
struct SpawnSettings {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;

    SpawnSettings() {
        ::posix_spawn_file_actions_init(&files);
        ::posix_spawnattr_init(&attributes);
        // A group of its own, so that Ctrl-C in a terminal ends the host in its own way; no signal blocked or ignored.
        sigset_t none, all;
        ::sigemptyset(&none);
        ::sigfillset(&all);
        ::posix_spawnattr_setsigmask(&attributes, &none);
        ::posix_spawnattr_setsigdefault(&attributes, &all);
        ::posix_spawnattr_setpgroup(&attributes, 0);
        ::posix_spawnattr_setflags(&attributes,
                                   POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    ~SpawnSettings() {
        ::posix_spawn_file_actions_destroy(&files);
        ::posix_spawnattr_destroy(&attributes);
    }
};

// Wait for a child to end, at most so long; whether it did.
bool ended_within(pid_t pid, std::int64_t patience_ns, int& status) {
    const std::int64_t until = now_ns() + patience_ns;
    while (::waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ns() > until) return false;
        ::poll(nullptr, 0, 5);
    }
    return true;
}

}  // namespace

std::shared_ptr<Nursery> Nursery::shared() {
    static std::mutex mutex;
    static std::weak_ptr<Nursery> existing;
    const std::lock_guard lock(mutex);
    auto nursery = existing.lock();
    if (!nursery) existing = nursery = std::shared_ptr<Nursery>(new Nursery);
    return nursery;
}

Nursery::~Nursery() { end(); }

Birth Nursery::bear(std::uint32_t instance, std::uint32_t state_id, const Bytes& state, int memory, int wake,
                    int control) {
    const std::lock_guard lock(mutex_);
    Birth failure{Birth::Result::kDied, 0, "the engine's nursery ended"};
    if (!connection_ && !start(failure)) return failure;
    const Spawn wish{kProtocolVersion, instance, state_id, 0};
    if (!connection_.send(Message::kSpawn, payload(wish, state), {memory, wake, control})) {
        end();
        return failure;
    }
    while (auto message = connection_.receive(kStartTimeoutMs)) {
        const auto spawned = message->record<Spawned>();
        if (message->type == Message::kSpawned && spawned && spawned->instance == instance)
            return {Birth::Result::kBorn, static_cast<pid_t>(spawned->pid), ""};
        const auto ended = message->record<Ended>();
        if (message->type != Message::kEnded || !ended) continue;
        if (ended->pid == 0 && ended->instance == instance)
            return {Birth::Result::kDied, 0, "the nursery could not bear an engine (see its lines above)"};
        log_line("engine " + std::to_string(ended->pid) + " ended with status " + std::to_string(ended->exit_status));
    }
    end();
    return failure;
}

void Nursery::open_editor(std::uint32_t instance) {
    const std::lock_guard lock(mutex_);
    if (connection_) connection_.send(Message::kEdit, payload(Spawned{instance, 0}));
}

bool Nursery::start(Birth& failure) {
    const std::string python = interpreter();
    if (python.empty()) {
        failure = {Birth::Result::kNoInterpreter, 0,
                   "no Python interpreter is known: run `terrain plugin install`, or set LATENT_TERRAIN_PYTHON"};
        return false;
    }
    auto [ours, theirs] = socket_pair();
    connection_ = Connection(std::move(ours));
    if (!connection_ || !spawn_process(python, std::move(theirs))) {
        failure = {Birth::Result::kNoInterpreter, 0, "cannot start " + python + ": " + std::strerror(errno)};
        end();
        return false;
    }
    if (greeted(failure)) return true;
    end();
    return false;
}

bool Nursery::spawn_process(const std::string& python, Descriptor theirs) {
    const Descriptor log = open_log();
    const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const int output = log ? log.number() : nothing.number();
    // Out of the way of the numbers that it and its neighbours are given in the child.
    const Descriptor socket(::fcntl(theirs.number(), F_DUPFD_CLOEXEC, 10));
    SpawnSettings settings;
    ::posix_spawn_file_actions_adddup2(&settings.files, nothing.number(), 0);
    ::posix_spawn_file_actions_adddup2(&settings.files, output, 1);
    ::posix_spawn_file_actions_adddup2(&settings.files, output, 2);
    ::posix_spawn_file_actions_adddup2(&settings.files, socket.number(), kNurseryDescriptor);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    ::posix_spawn_file_actions_addclosefrom_np(&settings.files, kNurseryDescriptor + 1);  // what the host left open
#endif
    const char* arguments[] = {python.c_str(), "-E", "-P", "-m", "terrain_plugin.bridge.nursery", nullptr};
    auto environment = environment_for_python();
    const int error = ::posix_spawn(&pid_, python.c_str(), &settings.files, &settings.attributes,
                                    const_cast<char**>(arguments), environment.data());
    if (error != 0) pid_ = 0;
    errno = error;
    return error == 0;
}

// Whether the process says hello in our version.
bool Nursery::greeted(Birth& failure) {
    const auto message = connection_.receive(kStartTimeoutMs);
    const auto hello = message ? message->record<Hello>() : std::nullopt;
    if (!hello || message->type != Message::kHello) {
        failure = {Birth::Result::kNoInterpreter, 0,
                   interpreter() + " did not start the engine (see its lines above); is latent-terrain installed there?"};
        return false;
    }
    if (hello->protocol != kProtocolVersion) {
        const Bytes version = message->after<Hello>();
        failure = {Birth::Result::kWrongVersion, 0,
                   "the engine (" + std::string(version.begin(), version.end()) + ") speaks protocol " +
                       std::to_string(hello->protocol) + ", this plugin " + std::to_string(kProtocolVersion) +
                       ": run `terrain plugin install` with the version that you want"};
        return false;
    }
    return true;
}

// Close the connection, which ends the process; see it out.
void Nursery::end() {
    connection_.close();
    connection_ = Connection();
    if (pid_ == 0) return;
    int status = 0;
    if (!ended_within(pid_, 2 * kSecond, status)) {
        ::kill(pid_, SIGKILL);
        ended_within(pid_, 2 * kSecond, status);
    }
    pid_ = 0;
}

}  // namespace terrain::bridge
