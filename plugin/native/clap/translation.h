// CLAP's events and transport in the words of core/plugin.h.
#pragma once

#include <clap/events.h>

#include "core/plugin.h"

namespace terrain::clap {

// The event at offset 0; false if it means nothing to us. Transport events are not among these: they cut a block.
bool translate(const clap_event_header_t& header, Event& event);

// tempo_inc is left aside: a block's end comes out wrong by 1e-5 beats in a ramp of 10 BPM a second, and the next block
// begins with the host's own position again.
Transport translate(const clap_event_transport_t& clap);

// The same transport some seconds later.
Transport advanced(Transport transport, double seconds);

}  // namespace terrain::clap
