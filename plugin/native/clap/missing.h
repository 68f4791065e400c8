// Parts of CLAP that the headers at hand (those of version 1.1.1 in DPF) lack, laid out as the specification says.
#pragma once

#include <clap/host.h>
#include <clap/plugin.h>
#include <clap/string-sizes.h>

inline constexpr char CLAP_EXT_RENDER[] = "clap.render";
inline constexpr char CLAP_EXT_TAIL[] = "clap.tail";
inline constexpr char CLAP_EXT_LOG[] = "clap.log";
inline constexpr char CLAP_EXT_TRACK_INFO[] = "clap.track-info/1";
inline constexpr char CLAP_EXT_TRACK_INFO_COMPAT[] = "clap.track-info.draft/1";  // the same, before it was settled
inline constexpr std::uint64_t CLAP_TRACK_INFO_HAS_TRACK_NAME = 1 << 0;

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

struct clap_color {
    std::uint8_t alpha, red, green, blue;
};

struct clap_track_info {
    std::uint64_t flags;  // CLAP_TRACK_INFO_...
    char name[CLAP_NAME_SIZE];
    clap_color color;
    std::int32_t audio_channel_count;
    const char* audio_port_type;
};

struct clap_plugin_track_info {
    void(CLAP_ABI* changed)(const clap_plugin_t* plugin);                          // main thread
};

struct clap_host_track_info {
    bool(CLAP_ABI* get)(const clap_host_t* host, clap_track_info* info);           // main thread
};

struct clap_host_log {
    void(CLAP_ABI* log)(const clap_host_t* host, std::int32_t severity, const char* message);  // any thread
};

}  // extern "C"

// Flags of clap_param_info that came later.
inline constexpr std::uint32_t CLAP_PARAM_IS_ENUM = 1u << 16;
