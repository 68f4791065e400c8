// A way to the host's main thread. VST3 has no call for it; a host may offer its event loop.
#pragma once

#include <functional>
#include <memory>

#include "travesty/base.h"

namespace terrain::vst3 {

// Runs an action on the main thread, some time after somebody has asked for it from another.
//
// Linux: through IRunLoop, where the host offers one with its context or its component handler. macOS: through the main
// dispatch queue. Elsewhere nothing comes of `ask`, and the owner looks for itself whether there is something to do
// whenever the host calls it on the main thread.
class MainThread {
public:
    explicit MainThread(std::function<void()> action);  // main thread
    ~MainThread();                                       // main thread
    MainThread(const MainThread&) = delete;
    MainThread& operator=(const MainThread&) = delete;

    void look_into(v3_funknown** host_object);  // main thread: whether it offers the host's event loop
    void leave();                               // main thread: the host goes
    void ask();                                 // any thread
    bool reachable() const;                     // any thread: whether something comes of `ask`

private:
    class Loop;
    std::unique_ptr<Loop> loop_;
};

}  // namespace terrain::vst3
