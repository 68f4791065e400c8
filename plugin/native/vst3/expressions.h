// The note expressions that we offer, in a table: what VST3 calls them, what the engine calls them.
#pragma once

#include <cstdint>

#include "generated/parameters.h"
#include "generated/protocol.h"
#include "vst3/interfaces.h"

namespace terrain::vst3 {

struct Expression {
    NoteExpressionType type;
    bridge::NoteExpression meaning;
    const char* title;
    const char* unit;
    double initial;    // normalised
    double low, high;  // what 0 and 1 mean
    PhysicalController controller;
    ParameterId parameter;  // what it moves while its note leads
    std::int32_t flags;
};

inline constexpr Expression kExpressions[] = {
    {kTuningType, bridge::NoteExpression::kTuning, "Tuning", "semitones", 0.5, -120, 120, kXMovement, kX, kIsBipolar},
    {kBrightnessType, bridge::NoteExpression::kBrightness, "Brightness", "", 0.5, 0, 1, kYMovement, kY, kIsAbsolute},
    {kPressureType, bridge::NoteExpression::kPressure, "Pressure", "", 0.0, 0, 1, kPhysicalPressure, kPressure,
     kIsAbsolute},
};
inline constexpr std::int32_t kExpressionCount = sizeof kExpressions / sizeof *kExpressions;

// Null if we do not offer it.
constexpr const Expression* expression_of(std::uint32_t type) {
    for (const Expression& row : kExpressions)
        if (row.type == type) return &row;
    return nullptr;
}

constexpr double plain_value(const Expression& row, double normalised) {
    return row.low + normalised * (row.high - row.low);
}

// Its texts are written and read by a parameter's laws.
constexpr Parameter as_parameter(const Expression& row) {
    return {0, "", row.title, row.unit, "", row.low, row.high, row.initial, 0, 2, nullptr, 0, false, false};
}

}  // namespace terrain::vst3
