// Made by `python -m terrain_plugin.bridge.headers`; change the tables it is made from, not this file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace terrain::bridge {

constexpr std::uint32_t kProtocolVersion = 3u;
constexpr std::uint32_t kMagic = 1280594498u;
constexpr std::uint32_t kChannels = 2u;
constexpr std::uint32_t kMaxEvents = 2048u;
constexpr std::uint32_t kMaxMessageBytes = 536870912u;
constexpr std::uint32_t kCacheLine = 64u;

enum RequestFlag : std::uint32_t {
    kOffline = 1,
    kLines = 2,
    kReset = 4,
    kAudioIn = 8,
    kHasTransport = 16,
    kPlaying = 32,
    kRecording = 64,
    kCycle = 128,
    kHasBeat = 256,
    kHasBpm = 512,
    kHasSeconds = 1024,
    kHasBar = 2048,
    kHasMeter = 4096,
    kHasCycle = 8192,
};

enum class EventKind : std::uint32_t {
    kParameter = 1,
    kMidi = 2,
    kNoteOn = 3,
    kNoteOff = 4,
    kNoteChoke = 5,
    kNoteExpression = 6,
};

enum class NoteExpression : std::uint32_t {
    kTuning = 1,
    kPressure = 2,
    kBrightness = 3,
    kVolume = 4,
    kPan = 5,
};

enum class GestureKind : std::uint32_t {
    kBegin = 1,
    kValue = 2,
    kEnd = 3,
};

enum class EngineState : std::uint32_t {
    kReady = 1,
    kLoading = 2,
};

enum class Message : std::uint32_t {
    kHello = 1,
    kSpawned = 2,
    kEnded = 3,
    kSpawn = 10,
    kEdit = 11,
    kState = 20,
    kSave = 21,
    kAbout = 22,
    kReady = 30,
    kFault = 31,
    kSaved = 32,
    kGestures = 33,
};

// Begins the shared memory. The plugin writes it before the engine is born; afterwards it never changes.
struct Header {
    std::uint32_t magic;  // MAGIC
    std::uint32_t protocol;  // PROTOCOL_VERSION
    std::uint64_t memory_bytes;  // the size of it all
    double sample_rate;  // Hz
    std::uint32_t max_block;  // samples in the longest request
    std::uint32_t max_events;  // events in the fullest request
    std::uint32_t request_at;  // byte at which Request begins; so for the rest
    std::uint32_t reply_at;  // Reply
    std::uint32_t events_at;  // max_events times Event
    std::uint32_t audio_in_at;  // CHANNELS times max_block float32, channel after channel
    std::uint32_t audio_out_at;  // CHANNELS times max_block float32, channel after channel
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Header) == 56);
static_assert(offsetof(Header, magic) == 0);
static_assert(offsetof(Header, protocol) == 4);
static_assert(offsetof(Header, memory_bytes) == 8);
static_assert(offsetof(Header, sample_rate) == 16);
static_assert(offsetof(Header, max_block) == 24);
static_assert(offsetof(Header, max_events) == 28);
static_assert(offsetof(Header, request_at) == 32);
static_assert(offsetof(Header, reply_at) == 36);
static_assert(offsetof(Header, events_at) == 40);
static_assert(offsetof(Header, audio_in_at) == 44);
static_assert(offsetof(Header, audio_out_at) == 48);
static_assert(offsetof(Header, padding) == 52);

// A block to be made. The plugin fills it, the events and the audio, raises `sequence`, and sends a byte.
struct Request {
    std::uint64_t sequence;  // one more than the request before; 0 before the first
    std::uint32_t samples;  // 1..max_block
    std::uint32_t flags;  // RequestFlag
    std::uint32_t event_count;  // 0..max_events, sorted by offset
    std::uint32_t lost_samples;  // samples of the host's stream since the request before that were never asked for
    double beat;  // song position in quarter notes at the first sample; may be negative
    double bpm;  // quarter notes a minute at the first sample
    double seconds;  // song position
    double bar_beat;  // where the running bar began, in quarter notes
    double cycle_begin;  // the host's loop, in quarter notes
    double cycle_end;
    std::int32_t bar;  // the running bar's number, 0 at beat 0
    std::uint16_t meter_numerator;
    std::uint16_t meter_denominator;
    std::uint32_t state_id;  // the newest state that the plugin had asked for when it read its parameters
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Request) == 88);
static_assert(offsetof(Request, sequence) == 0);
static_assert(offsetof(Request, samples) == 8);
static_assert(offsetof(Request, flags) == 12);
static_assert(offsetof(Request, event_count) == 16);
static_assert(offsetof(Request, lost_samples) == 20);
static_assert(offsetof(Request, beat) == 24);
static_assert(offsetof(Request, bpm) == 32);
static_assert(offsetof(Request, seconds) == 40);
static_assert(offsetof(Request, bar_beat) == 48);
static_assert(offsetof(Request, cycle_begin) == 56);
static_assert(offsetof(Request, cycle_end) == 64);
static_assert(offsetof(Request, bar) == 72);
static_assert(offsetof(Request, meter_numerator) == 76);
static_assert(offsetof(Request, meter_denominator) == 78);
static_assert(offsetof(Request, state_id) == 80);
static_assert(offsetof(Request, padding) == 84);

// A block that was made. The engine fills the audio and this, sets `sequence` to the request's, and sends a byte.
struct Reply {
    std::uint64_t sequence;  // of the request that is answered; 0 before the first
    std::uint32_t samples;  // as in the request
    std::uint32_t state;  // EngineState
    std::uint64_t spent_ns;  // nanoseconds that the engine itself took (TerrainProcessor.process)
    std::uint32_t silent;  // 1 if every sample is zero
    std::uint32_t faults;  // faults that the engine has covered up so far (Engine.faults)
    double loop_phase;  // where in the chosen loop it is, 0..1: parameter Loop Phase
    std::uint32_t loop_state;  // what the chosen loop does: parameter Loop State
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Reply) == 48);
static_assert(offsetof(Reply, sequence) == 0);
static_assert(offsetof(Reply, samples) == 8);
static_assert(offsetof(Reply, state) == 12);
static_assert(offsetof(Reply, spent_ns) == 16);
static_assert(offsetof(Reply, silent) == 24);
static_assert(offsetof(Reply, faults) == 28);
static_assert(offsetof(Reply, loop_phase) == 32);
static_assert(offsetof(Reply, loop_state) == 40);
static_assert(offsetof(Reply, padding) == 44);

// Something that happens within a block; see EventKind for what the members mean.
struct Event {
    std::uint32_t offset;  // sample in the block
    std::uint16_t kind;  // EventKind
    std::uint16_t size;  // bytes of a MIDI message
    std::uint32_t id;  // parameter id or NoteExpression
    std::int32_t note_id;  // the host's name for a note; -1 for none
    std::int16_t key;  // 0..127; -1 for all
    std::int16_t channel;  // 0..15; -1 for all
    std::uint8_t data[4];  // a MIDI message
    double value;
};
static_assert(sizeof(Event) == 32);
static_assert(offsetof(Event, offset) == 0);
static_assert(offsetof(Event, kind) == 4);
static_assert(offsetof(Event, size) == 6);
static_assert(offsetof(Event, id) == 8);
static_assert(offsetof(Event, note_id) == 12);
static_assert(offsetof(Event, key) == 16);
static_assert(offsetof(Event, channel) == 18);
static_assert(offsetof(Event, data) == 20);
static_assert(offsetof(Event, value) == 24);

// The nursery runs.
struct Hello {
    std::uint32_t protocol;  // PROTOCOL_VERSION
    std::uint32_t pid;  // its process id
};
static_assert(sizeof(Hello) == 8);
static_assert(offsetof(Hello, protocol) == 0);
static_assert(offsetof(Hello, pid) == 4);

// An engine is wanted.
struct Spawn {
    std::uint32_t protocol;  // PROTOCOL_VERSION
    std::uint32_t instance;  // the plugin's number for it
    std::uint32_t state_id;  // what READY or FAULT will answer
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Spawn) == 16);
static_assert(offsetof(Spawn, protocol) == 0);
static_assert(offsetof(Spawn, instance) == 4);
static_assert(offsetof(Spawn, state_id) == 8);
static_assert(offsetof(Spawn, padding) == 12);

// An engine runs.
struct Spawned {
    std::uint32_t instance;  // as in Spawn
    std::uint32_t pid;  // its process id
};
static_assert(sizeof(Spawned) == 8);
static_assert(offsetof(Spawned, instance) == 0);
static_assert(offsetof(Spawned, pid) == 4);

// An engine is gone.
struct Ended {
    std::uint32_t instance;  // as in Spawn
    std::uint32_t pid;  // its process id, 0 if it could not be born
    std::int32_t exit_status;  // as Python's returncode: negative for a signal
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Ended) == 16);
static_assert(offsetof(Ended, instance) == 0);
static_assert(offsetof(Ended, pid) == 4);
static_assert(offsetof(Ended, exit_status) == 8);
static_assert(offsetof(Ended, padding) == 12);

// Begins messages about a state.
struct State {
    std::uint32_t state_id;  // a number that the answer repeats
};
static_assert(sizeof(State) == 4);
static_assert(offsetof(State, state_id) == 0);

// The engine plays what it was given.
struct Ready {
    std::uint32_t state_id;  // of the Spawn or STATE that is answered
    std::uint32_t protocol;  // PROTOCOL_VERSION
    std::uint32_t pid;  // the engine's process id
    std::uint32_t latency;  // samples at the host's rate
    std::uint32_t tail;  // samples; 0xFFFFFFFF if it never ends
    std::uint32_t padding;  // 0
};
static_assert(sizeof(Ready) == 24);
static_assert(offsetof(Ready, state_id) == 0);
static_assert(offsetof(Ready, protocol) == 4);
static_assert(offsetof(Ready, pid) == 8);
static_assert(offsetof(Ready, latency) == 12);
static_assert(offsetof(Ready, tail) == 16);
static_assert(offsetof(Ready, padding) == 20);

// A hand at the editor, on its way to the host.
struct GestureRecord {
    std::uint32_t id;  // parameter id
    std::uint32_t kind;  // GestureKind
    double value;  // plain value, of a VALUE
};
static_assert(sizeof(GestureRecord) == 16);
static_assert(offsetof(GestureRecord, id) == 0);
static_assert(offsetof(GestureRecord, kind) == 4);
static_assert(offsetof(GestureRecord, value) == 8);

}  // namespace terrain::bridge
