// Two CLAP extensions that DPF's copy of the headers lacks, as the specification (CLAP 1.0) has them.
#pragma once

#include "clap/plugin.h"

inline constexpr char kClapExtRender[] = "clap.render";
inline constexpr char kClapExtTail[] = "clap.tail";

enum ClapRenderMode : std::int32_t { kClapRenderRealtime = 0, kClapRenderOffline = 1 };

struct ClapPluginRender {
    bool (*has_hard_realtime_requirement)(const clap_plugin_t* plugin);     // main thread
    bool (*set)(const clap_plugin_t* plugin, std::int32_t mode);            // main thread
};

struct ClapPluginTail {
    std::uint32_t (*get)(const clap_plugin_t* plugin);                      // main or audio thread
};
