// Parts of CLAP that the headers at hand (those of version 1.1.1 in DPF) lack, laid out as the specification says.
#pragma once

#include <clap/host.h>
#include <clap/plugin.h>

inline constexpr char CLAP_EXT_RENDER[] = "clap.render";
inline constexpr char CLAP_EXT_TAIL[] = "clap.tail";
inline constexpr char CLAP_EXT_LOG[] = "clap.log";

extern "C" {

enum : std::int32_t { CLAP_RENDER_REALTIME = 0, CLAP_RENDER_OFFLINE = 1 };

struct clap_plugin_render {
    bool(CLAP_ABI* has_hard_realtime_requirement)(const clap_plugin_t* plugin);    // main thread
    bool(CLAP_ABI* set)(const clap_plugin_t* plugin, std::int32_t mode);           // main thread
};

struct clap_plugin_tail {
    std::uint32_t(CLAP_ABI* get)(const clap_plugin_t* plugin);                     // main or audio thread; samples
};

enum : std::int32_t { CLAP_LOG_HOST_MISBEHAVING = 5 };

struct clap_host_log {
    void(CLAP_ABI* log)(const clap_host_t* host, std::int32_t severity, const char* message);  // any thread
};

}  // extern "C"

// Flags of clap_param_info that came later.
inline constexpr std::uint32_t CLAP_PARAM_IS_ENUM = 1u << 16;
