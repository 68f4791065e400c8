// The process that bears engines: one for all plugin instances in a host process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "bridge/messages.h"

namespace terrain::bridge {

// What became of a wish for an engine.
struct Birth {
    enum class Result { kBorn, kNoInterpreter, kDied, kWrongVersion };
    Result result;
    pid_t pid = 0;        // kBorn
    std::string problem;  // the rest: one line for the log
};

class Nursery {
public:
    // The one of this process; it ends, and its process with it, when nobody holds it any more.
    static std::shared_ptr<Nursery> shared();
    ~Nursery();
    Nursery(const Nursery&) = delete;
    Nursery& operator=(const Nursery&) = delete;

    // Ask for an engine that owns these three descriptors (they are duplicated) and starts with this state. Starts the
    // process if it does not run. Takes as long as it takes, up to half a minute: for supervisors only.
    Birth bear(std::uint32_t instance, std::uint32_t state_id, const Bytes& state, int memory, int wake, int control);

    // Have the editor opened for an instance. For supervisors only.
    void open_editor(std::uint32_t instance);

private:
    Nursery() = default;
    bool start(Birth& failure);
    bool spawn_process(const std::string& python, Descriptor theirs);
    bool greeted(Birth& failure);
    void end();

    std::mutex mutex_;
    Connection connection_;
    pid_t pid_ = 0;
};

}  // namespace terrain::bridge
