// Made by `python -m terrain_plugin.bridge.headers`; change the tables it is made from, not this file.
#pragma once

#include <cstdint>

namespace terrain {

constexpr const char* kPluginName = "Latent Terrain";
constexpr const char* kVendor = "Latent Terrain";
constexpr const char* kVersion = "0.1.0";
constexpr const char* kDescription = "A point becomes sound, through the latent space of a neural autoencoder";
constexpr const char* kClapId = "org.latent-terrain.terrain";
constexpr const char* kVst3SubCategories = "Instrument|Synth";
constexpr const char* kVst3SdkVersion = "VST 3.7.4";
constexpr std::uint8_t kVst3ClassId[16] = {0xf2, 0xd6, 0xe8, 0xc4, 0x5b, 0x1a, 0x4c, 0x37, 0x9e, 0x0d, 0x7a, 0x41, 0xb8, 0xc9, 0x5e, 0x26};
constexpr const char* kStateMagic = "LTERRAIN";
constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint32_t kLargestState = 268435456;

}  // namespace terrain
