// Made by `python -m terrain_plugin.bridge.headers`; change the tables it is made from, not this file.
#pragma once

#include <cstdint>

namespace terrain {

struct Word { double value; const char* text; };

struct Parameter {
    std::uint32_t id;
    const char* key;
    const char* name;
    const char* unit;
    const char* group;
    double low, high, initial;
    std::uint32_t steps;    // number of values minus one; 0 for a continuous one
    std::uint32_t decimals; // how its text is written
    const Word* words;      // values that have a name
    std::uint32_t word_count;
    bool choices; // the words are all there is
    bool read_only;
};

inline constexpr Word kPressureTargetWords[] = {{0.0, "Level"}, {1.0, "Intensity"}, {2.0, "Z"}, {3.0, "Off"}};
inline constexpr Word kLevelWords[] = {{-60.0, "-inf dB"}};
inline constexpr Word kSourceWords[] = {{0.0, "Terrain"}, {1.0, "Map"}, {2.0, "Input"}};
inline constexpr Word kSnapWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kRunWords[] = {{0.0, "Free"}, {1.0, "Transport"}, {2.0, "Notes"}};
inline constexpr Word kSyncBpmWords[] = {{0.0, "Host"}};
inline constexpr Word kBypassWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kStatusWords[] = {{0.0, "Off"}, {1.0, "Starting"}, {2.0, "Ready"}, {3.0, "Loading"}, {4.0, "Restarting"}, {5.0, "No Engine"}, {6.0, "Wrong Version"}};

inline constexpr Parameter kParameters[] = {
    {1, "x", "X", "", "Position", 0.0, 1.0, 0.5, 0, 3, nullptr, 0, false, false},
    {2, "y", "Y", "", "Position", 0.0, 1.0, 0.5, 0, 3, nullptr, 0, false, false},
    {3, "pressure", "Pressure", "", "Position", 0.0, 1.0, 1.0, 0, 3, nullptr, 0, false, false},
    {4, "z", "Z", "", "Position", 0.0, 1.0, 0.5, 0, 3, nullptr, 0, false, false},
    {5, "pressure_target", "Pressure To", "", "Position", 0.0, 3.0, 0.0, 3, 0, kPressureTargetWords, 4, true, false},
    {6, "level", "Level", "dB", "Output", -60.0, 12.0, 0.0, 0, 1, kLevelWords, 1, false, false},
    {7, "glide", "Glide", "ms", "Latents", 0.0, 5000.0, 0.0, 0, 1, nullptr, 0, false, false},
    {8, "source", "Source", "", "Source", 0.0, 2.0, 0.0, 2, 0, kSourceWords, 3, true, false},
    {9, "snap", "Snap", "", "Source", 0.0, 1.0, 0.0, 1, 0, kSnapWords, 2, true, false},
    {10, "neighbours", "Neighbours", "", "Source", 1.0, 32.0, 8.0, 31, 0, nullptr, 0, false, false},
    {11, "intensity", "Intensity", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {12, "noise", "Noise", "", "Latents", 0.0, 1.0, 0.0, 0, 3, nullptr, 0, false, false},
    {13, "run", "Run", "", "Output", 0.0, 2.0, 0.0, 2, 0, kRunWords, 3, true, false},
    {14, "sync_bpm", "Sync BPM", "BPM", "Output", 0.0, 400.0, 0.0, 0, 1, kSyncBpmWords, 1, false, false},
    {15, "bypass", "Bypass", "", "Output", 0.0, 1.0, 0.0, 1, 0, kBypassWords, 2, true, false},
    {16, "status", "Status", "", "Output", 0.0, 6.0, 0.0, 6, 0, kStatusWords, 7, true, true},
    {40, "offset_1", "Offset 1", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {41, "offset_2", "Offset 2", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {42, "offset_3", "Offset 3", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {43, "offset_4", "Offset 4", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {44, "offset_5", "Offset 5", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {45, "offset_6", "Offset 6", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {46, "offset_7", "Offset 7", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {47, "offset_8", "Offset 8", "", "Latents", -3.0, 3.0, 0.0, 0, 3, nullptr, 0, false, false},
    {48, "scale_1", "Scale 1", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {49, "scale_2", "Scale 2", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {50, "scale_3", "Scale 3", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {51, "scale_4", "Scale 4", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {52, "scale_5", "Scale 5", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {53, "scale_6", "Scale 6", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {54, "scale_7", "Scale 7", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
    {55, "scale_8", "Scale 8", "", "Latents", 0.0, 2.0, 1.0, 0, 3, nullptr, 0, false, false},
};
constexpr std::uint32_t kParameterCount = 32;

enum ParameterId : std::uint32_t {
    kX = 1,
    kY = 2,
    kPressure = 3,
    kZ = 4,
    kPressureTarget = 5,
    kLevel = 6,
    kGlide = 7,
    kSource = 8,
    kSnap = 9,
    kNeighbours = 10,
    kIntensity = 11,
    kNoise = 12,
    kRun = 13,
    kSyncBpm = 14,
    kBypass = 15,
    kStatus = 16,
    kOffset1 = 40,
    kOffset2 = 41,
    kOffset3 = 42,
    kOffset4 = 43,
    kOffset5 = 44,
    kOffset6 = 45,
    kOffset7 = 46,
    kOffset8 = 47,
    kScale1 = 48,
    kScale2 = 49,
    kScale3 = 50,
    kScale4 = 51,
    kScale5 = 52,
    kScale6 = 53,
    kScale7 = 54,
    kScale8 = 55,
};

enum class Status : std::uint32_t {
    kOff = 0,
    kStarting = 1,
    kReady = 2,
    kLoading = 3,
    kRestarting = 4,
    kNoEngine = 5,
    kWrongVersion = 6,
};

}  // namespace terrain
