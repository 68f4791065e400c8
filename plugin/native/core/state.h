// The state that hosts save; its layout is told in terrain_core/plugin_state.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace terrain {

struct State {
    using Bytes = std::vector<std::uint8_t>;
    struct Chunk {
        std::array<char, 4> name;
        Bytes content;
    };

    std::vector<std::pair<std::uint32_t, double>> values;  // parameter id and plain value, in the table's order
    std::vector<Chunk> chunks;                             // all the others, in their order

    const Bytes* chunk(const char* name) const;
    void set_chunk(const char* name, Bytes content);  // an empty content takes it out

    Bytes to_bytes() const;
    // False: not a state of ours, damaged, or from a newer version; `problem` says which.
    bool from_bytes(const std::uint8_t* data, std::size_t size, std::string& problem);
};

}  // namespace terrain
