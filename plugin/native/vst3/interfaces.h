// VST3 interfaces that travesty's headers lack, as the public specification (VST 3.7) has them; and how objects show
// themselves through C tables.
#pragma once

#include <cstdint>

#include "travesty/audio_processor.h"
#include "travesty/component.h"
#include "travesty/edit_controller.h"
#include "travesty/factory.h"
#include "travesty/host.h"
#include "travesty/message.h"
#include "travesty/unit.h"

namespace terrain::vst3 {

// ---- note expressions: INoteExpressionController, INoteExpressionPhysicalUIMapping

enum NoteExpressionType : std::uint32_t {
    kVolumeType = 0,
    kPanType = 1,
    kTuningType = 2,
    kBrightnessType = 5,
    kPressureType = 100000,  // the first that is free for a plugin's own
};

enum NoteExpressionFlag : std::int32_t { kIsBipolar = 1 << 0, kIsAbsolute = 1 << 2, kHasAssociatedParameter = 1 << 3 };

enum PhysicalController : std::uint32_t { kXMovement = 0, kYMovement = 1, kPhysicalPressure = 2 };

#include "travesty/align_push.h"
struct NoteExpressionInfo {
    std::uint32_t type;
    v3_str_128 title, short_title, units;
    std::int32_t unit_id;
    double initial, low, high;
    std::int32_t step_count;
    v3_param_id associated_parameter;
    std::int32_t flags;
};

struct PhysicalMap {
    std::uint32_t controller;
    std::uint32_t expression;
};

struct PhysicalMapList {
    std::uint32_t count;
    PhysicalMap* maps;
};
#include "travesty/align_pop.h"

inline constexpr v3_tuid kNoteExpressionControllerIid = V3_ID(0xB7F8F859, 0x41234872, 0x91169581, 0x4F3721A3);
inline constexpr v3_tuid kPhysicalMappingIid = V3_ID(0xB03078FF, 0x94D24AC8, 0x90CCD303, 0xD4133324);

struct NoteExpressionTable : v3_funknown {
    std::int32_t(V3_API* count)(void*, std::int32_t bus, std::int16_t channel);
    v3_result(V3_API* info)(void*, std::int32_t bus, std::int16_t channel, std::int32_t index, NoteExpressionInfo*);
    v3_result(V3_API* text)(void*, std::int32_t bus, std::int16_t channel, std::uint32_t type, double, v3_str_128);
    v3_result(V3_API* parse)(void*, std::int32_t bus, std::int16_t channel, std::uint32_t type, const std::int16_t*,
                             double*);
};

struct PhysicalMappingTable : v3_funknown {
    v3_result(V3_API* map)(void*, std::int32_t bus, std::int16_t channel, PhysicalMapList*);
};

// ---- ChannelContext::IInfoListener: on which channel of the mixer a plugin is

inline constexpr v3_tuid kInfoListenerIid = V3_ID(0x0F194781, 0x8D984ADA, 0xBBA0C1EF, 0xC011D8D0);
inline constexpr char kChannelName[] = "channel name";

struct InfoListenerTable : v3_funknown {
    v3_result(V3_API* set_channel)(void*, v3_attribute_list** list);
};

// MIDI controllers in IMidiMapping beyond the 128 of MIDI.
enum : std::int16_t { kModulationWheel = 1, kTimbre = 74, kChannelPressure = 128, kPitchBend = 129 };

// ---- tables

// What a host holds: a pointer to a table of functions, and whom they are for. One per interface of an object.
template <typename Object>
struct Interface {
    const v3_funknown* table;
    Object* object;
};

template <typename Object>
Object& object_of(void* self) {
    return *static_cast<Interface<Object>*>(self)->object;
}

// The functions of an interface of the host's, behind FUnknown's three. (travesty's v3_cpp_obj does the same, but knows
// not all interfaces' distances.)
template <typename Functions>
const Functions& functions_of(void* host_object) {
    return *reinterpret_cast<const Functions*>(*static_cast<std::uint8_t**>(host_object) + sizeof(v3_funknown));
}

}  // namespace terrain::vst3
