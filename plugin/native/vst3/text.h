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

// A name that a user gave, as UTF-8.
inline std::string read_name(const std::int16_t (&from)[128]) {
    std::string text;
    for (std::size_t at = 0; at < 128 && from[at]; ++at) {
        std::uint32_t code = static_cast<std::uint16_t>(from[at]);
        if (code >= 0xD800 && code < 0xDC00 && at + 1 < 128) {  // half of a pair
            const std::uint32_t other = static_cast<std::uint16_t>(from[at + 1]);
            if (other >= 0xDC00 && other < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (other - 0xDC00);
                ++at;
            }
        }
        if (code < 0x80) {
            text += static_cast<char>(code);
            continue;
        }
        const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;  // bytes after the first
        constexpr std::uint32_t kFirst[] = {0, 0xC0, 0xE0, 0xF0};
        text += static_cast<char>(kFirst[more] | code >> (6 * more));
        for (int left = more - 1; left >= 0; --left) text += static_cast<char>(0x80 | (code >> (6 * left) & 0x3F));
    }
    return text;
}

}  // namespace terrain::vst3
