// VST3's 128-character UTF-16 texts. Ours are ASCII, so that a character is a code unit.
#pragma once

#include <cstdint>
#include <string>

namespace terrain::vst3 {

inline void write_text(const std::string& from, std::int16_t* to, std::size_t size) {
    std::size_t at = 0;
    for (; at < from.size() && at + 1 < size; ++at) to[at] = static_cast<unsigned char>(from[at]);
    to[at] = 0;
}

template <std::size_t size>
void write_text(const std::string& from, std::int16_t (&to)[size]) {
    write_text(from, to, size);
}

// Characters beyond ASCII become "?": no text of ours has them, so that they never match.
inline std::string read_text(const std::int16_t* from) {
    std::string text;
    for (; *from && text.size() < 128; ++from) text += *from > 0 && *from < 128 ? static_cast<char>(*from) : '?';
    return text;
}

}  // namespace terrain::vst3
