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
inline constexpr Word kLoopRecordWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopPlayWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopOverdubWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopLengthWords[] = {{0.0, "Own"}};
inline constexpr Word kLoopQuantiseWords[] = {{0.0, "Own"}, {1.0, "Off"}, {2.0, "Beat"}, {3.0, "Bar"}, {4.0, "Loop"}};
inline constexpr Word kLoopReverseWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopUndoWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopRedoWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopClearWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopMuteWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kLoopActionWords[] = {{0.0, "None"}, {1.0, "Record"}, {2.0, "Play"}, {3.0, "Overdub"}, {4.0, "Replace"}, {5.0, "Substitute"}, {6.0, "Multiply"}, {7.0, "Insert"}, {8.0, "Stop"}, {9.0, "Mute"}, {10.0, "Undo"}, {11.0, "Redo"}, {12.0, "Clear"}, {13.0, "Reverse"}, {14.0, "Half"}, {15.0, "Double"}, {16.0, "Trigger"}, {17.0, "One-Shot"}, {18.0, "Freeze"}};
inline constexpr Word kLoopBlendWords[] = {{0.0, "Own"}};
inline constexpr Word kLoopStateWords[] = {{0.0, "Empty"}, {1.0, "Armed"}, {2.0, "Recording"}, {3.0, "Ending"}, {4.0, "Playing"}, {5.0, "Overdubbing"}, {6.0, "Replacing"}, {7.0, "Substituting"}, {8.0, "Multiplying"}, {9.0, "Inserting"}, {10.0, "Stopped"}};
inline constexpr Word kTapWords[] = {{0.0, "Off"}, {1.0, "On"}};
inline constexpr Word kBlendWords[] = {{0.0, "Own"}, {1.0, "Distance"}, {2.0, "Natural"}};
inline constexpr Word kBlendPowerWords[] = {{0.0, "Own"}};
inline constexpr Word kBlendRadiusWords[] = {{0.0, "Own"}};

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
    {20, "loop_slot", "Loop Slot", "", "Loop", 1.0, 64.0, 1.0, 63, 0, nullptr, 0, false, false},
    {21, "loop_record", "Loop Record", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopRecordWords, 2, true, false},
    {22, "loop_play", "Loop Play", "", "Loop", 0.0, 1.0, 1.0, 1, 0, kLoopPlayWords, 2, true, false},
    {23, "loop_overdub", "Loop Overdub", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopOverdubWords, 2, true, false},
    {24, "loop_length", "Loop Length", "beats", "Loop", 0.0, 256.0, 0.0, 0, 1, kLoopLengthWords, 1, false, false},
    {25, "loop_quantise", "Loop Quantise", "", "Loop", 0.0, 4.0, 0.0, 4, 0, kLoopQuantiseWords, 5, true, false},
    {26, "loop_speed", "Loop Speed", "", "Loop", -4.0, 4.0, 1.0, 0, 3, nullptr, 0, false, false},
    {27, "loop_reverse", "Loop Reverse", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopReverseWords, 2, true, false},
    {28, "loop_feedback", "Loop Feedback", "", "Loop", 0.0, 1.0, 1.0, 0, 3, nullptr, 0, false, false},
    {29, "loop_mix", "Loop Mix", "", "Loop", 0.0, 1.0, 1.0, 0, 3, nullptr, 0, false, false},
    {30, "loop_undo", "Loop Undo", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopUndoWords, 2, true, false},
    {31, "loop_redo", "Loop Redo", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopRedoWords, 2, true, false},
    {32, "loop_clear", "Loop Clear", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopClearWords, 2, true, false},
    {33, "loop_mute", "Loop Mute", "", "Loop", 0.0, 1.0, 0.0, 1, 0, kLoopMuteWords, 2, true, false},
    {34, "loop_action", "Loop Action", "", "Loop", 0.0, 18.0, 0.0, 18, 0, kLoopActionWords, 19, true, false},
    {35, "loop_blend", "Loop Blend", "", "Loop", 0.0, 1.0, 0.0, 0, 3, kLoopBlendWords, 1, false, false},
    {36, "loop_level", "Loop Level", "dB", "Loop", -60.0, 12.0, 0.0, 0, 1, nullptr, 0, false, false},
    {37, "loop_state", "Loop State", "", "Loop", 0.0, 10.0, 0.0, 10, 0, kLoopStateWords, 11, true, true},
    {38, "loop_phase", "Loop Phase", "", "Loop", 0.0, 1.0, 0.0, 0, 3, nullptr, 0, false, true},
    {39, "tap", "Tap", "", "Output", 0.0, 1.0, 0.0, 1, 0, kTapWords, 2, true, false},
    {56, "blend", "Blend", "", "Source", 0.0, 2.0, 0.0, 2, 0, kBlendWords, 3, true, false},
    {57, "blend_power", "Blend Power", "", "Source", 0.0, 8.0, 0.0, 0, 3, kBlendPowerWords, 1, false, false},
    {58, "blend_radius", "Blend Radius", "", "Source", 0.0, 1.5, 0.0, 0, 3, kBlendRadiusWords, 1, false, false},
};
constexpr std::uint32_t kParameterCount = 55;

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
    kLoopSlot = 20,
    kLoopRecord = 21,
    kLoopPlay = 22,
    kLoopOverdub = 23,
    kLoopLength = 24,
    kLoopQuantise = 25,
    kLoopSpeed = 26,
    kLoopReverse = 27,
    kLoopFeedback = 28,
    kLoopMix = 29,
    kLoopUndo = 30,
    kLoopRedo = 31,
    kLoopClear = 32,
    kLoopMute = 33,
    kLoopAction = 34,
    kLoopBlend = 35,
    kLoopLevel = 36,
    kLoopState = 37,
    kLoopPhase = 38,
    kTap = 39,
    kBlend = 56,
    kBlendPower = 57,
    kBlendRadius = 58,
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
