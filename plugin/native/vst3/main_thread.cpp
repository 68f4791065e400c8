#include "vst3/main_thread.h"

#include <utility>

#include "vst3/interfaces.h"

#ifdef __APPLE__

#include <dispatch/dispatch.h>

namespace terrain::vst3 {

class MainThread::Loop {
public:
    explicit Loop(std::function<void()> action) : action_(std::make_shared<std::function<void()>>(std::move(action))) {}

    void look_into(v3_funknown**) {}
    void leave() {}
    bool reachable() const { return true; }

    // The owner may be gone when the queue gets there.
    void ask() {
        auto* held = new std::weak_ptr<std::function<void()>>(action_);
        dispatch_async_f(dispatch_get_main_queue(), held, [](void* context) {
            const std::unique_ptr<std::weak_ptr<std::function<void()>>> held(
                static_cast<std::weak_ptr<std::function<void()>>*>(context));
            if (const auto action = held->lock()) (*action)();
        });
    }

private:
    std::shared_ptr<std::function<void()>> action_;
};

}  // namespace terrain::vst3

#else

#include <sys/eventfd.h>

#include <atomic>

#include "bridge/descriptor.h"
#include "travesty/view.h"

namespace terrain::vst3 {

class MainThread::Loop {
public:
    explicit Loop(std::function<void()> action)
        : action_(std::move(action)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~Loop() { leave(); }

    void look_into(v3_funknown** host_object) {
        if (run_loop_ || !host_object || !wake_) return;
        if (v3_cpp_obj_query_interface(host_object, v3_run_loop_iid, &run_loop_) != V3_OK) run_loop_ = nullptr;
        if (!run_loop_) return;
        const auto& functions = functions_of<v3_run_loop>(run_loop_);
        reachable_ = functions.register_event_handler(run_loop_, as_handler(), wake_.number()) == V3_OK;
        if (reachable_) return;
        v3_cpp_obj_unref(run_loop_);
        run_loop_ = nullptr;
    }

    void leave() {
        if (!run_loop_) return;
        reachable_ = false;
        functions_of<v3_run_loop>(run_loop_).unregister_event_handler(run_loop_, as_handler());
        v3_cpp_obj_unref(std::exchange(run_loop_, nullptr));
    }

    void ask() {
        if (wake_) ::eventfd_write(wake_.number(), 1);
    }
    bool reachable() const { return reachable_; }

private:
    // The handler that the host calls. It lives as long as its owner, whatever the host counts.
    static v3_event_handler_cpp table() {
        v3_event_handler_cpp table{};
        table.query_interface = [](void* self, const v3_tuid iid, void** found) -> v3_result {
            const bool known = v3_tuid_match(iid, v3_funknown_iid) || v3_tuid_match(iid, v3_event_handler_iid);
            *found = known ? self : nullptr;
            return known ? V3_OK : V3_NO_INTERFACE;
        };
        table.ref = [](void*) -> std::uint32_t { return 1; };
        table.unref = [](void*) -> std::uint32_t { return 1; };
        table.handler.on_fd_is_set = [](void* self, int) { object_of<Loop>(self).be_called(); };
        return table;
    }

    v3_event_handler** as_handler() { return reinterpret_cast<v3_event_handler**>(&handler_); }

    void be_called() {
        eventfd_t asked;
        if (::eventfd_read(wake_.number(), &asked) == 0) action_();
    }

    static const v3_event_handler_cpp kTable;

    std::function<void()> action_;
    bridge::Descriptor wake_;
    v3_run_loop** run_loop_ = nullptr;
    std::atomic<bool> reachable_{false};
    Interface<Loop> handler_{&kTable, this};
};

const v3_event_handler_cpp MainThread::Loop::kTable = MainThread::Loop::table();

}  // namespace terrain::vst3

#endif

namespace terrain::vst3 {

MainThread::MainThread(std::function<void()> action) : loop_(std::make_unique<Loop>(std::move(action))) {}
MainThread::~MainThread() = default;
void MainThread::look_into(v3_funknown** host_object) { loop_->look_into(host_object); }
void MainThread::leave() { loop_->leave(); }
void MainThread::ask() { loop_->ask(); }
bool MainThread::reachable() const { return loop_->reachable(); }

}  // namespace terrain::vst3
