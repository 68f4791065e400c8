#include "bridge/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace terrain::bridge {
namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

void make_folders(const std::string& file) {
    for (std::size_t slash = file.find('/', 1); slash != std::string::npos; slash = file.find('/', slash + 1))
        ::mkdir(file.substr(0, slash).c_str(), 0700);
}

}  // namespace

std::string log_path() {
    const std::string chosen = environment("LATENT_TERRAIN_LOG");
    if (!chosen.empty()) return chosen;
    const std::string home = environment("HOME");
#ifdef __APPLE__
    return home.empty() ? "" : home + "/Library/Logs/latent-terrain/engine.log";
#else
    const std::string state = environment("XDG_STATE_HOME");
    if (!state.empty() && state[0] == '/') return state + "/latent-terrain/engine.log";
    return home.empty() ? "" : home + "/.local/state/latent-terrain/engine.log";
#endif
}

Descriptor open_log() {
    const std::string path = log_path();
    if (path.empty()) return {};
    make_folders(path);
    return Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

void log_line(const std::string& line) {
    const Descriptor log = open_log();
    if (!log) return;
    char stamp[32];
    const time_t now = ::time(nullptr);
    tm local;
    ::localtime_r(&now, &local);
    ::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    const std::string whole = std::string(stamp) + " plugin " + std::to_string(::getpid()) + ": " + line + "\n";
    // One write, so that lines of several processes do not mix. A full disk must not trouble the music.
    [[maybe_unused]] const auto written = ::write(log.number(), whole.data(), whole.size());
}

}  // namespace terrain::bridge
