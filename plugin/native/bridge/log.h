// Lines in the file that `terrain plugin doctor` shows: what went wrong, with the time. Engines write to it too.
#pragma once

#include <string>

#include "bridge/descriptor.h"

namespace terrain::bridge {

// $LATENT_TERRAIN_LOG; else under $XDG_STATE_HOME or ~/.local/state (macOS: ~/Library/Logs). Empty without a home.
std::string log_path();

// Opened for appending, its folders made; empty if that cannot be.
Descriptor open_log();

// Never on the audio thread.
void log_line(const std::string& line);

}  // namespace terrain::bridge
