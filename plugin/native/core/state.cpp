#include "core/state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "generated/identity.h"

namespace terrain {
namespace {

constexpr std::size_t kHeaderBytes = 20, kMagicBytes = 8, kChunkHeaderBytes = 8, kRowBytes = 12;
constexpr const char* kValues = "PARM";

// zlib's CRC-32 (polynomial 0xEDB88320), bit by bit: states are small and saved rarely.
std::uint32_t checksum(const std::uint8_t* data, std::size_t size) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> rows{};
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            std::uint32_t rest = byte;
            for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ (rest & 1 ? 0xEDB88320u : 0u);
            rows[byte] = rest;
        }
        return rows;
    }();
    std::uint32_t sum = ~0u;
    for (std::size_t i = 0; i < size; ++i) sum = table[(sum ^ data[i]) & 0xFF] ^ sum >> 8;
    return ~sum;
}

// Numbers are little-endian in the file; so is every machine that we run on, and a test would show another.
template <typename Number>
Number read(const std::uint8_t* data) {
    Number number;
    std::memcpy(&number, data, sizeof number);
    return number;
}

template <typename Number>
void append(State::Bytes& bytes, Number number) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(&number);
    bytes.insert(bytes.end(), data, data + sizeof number);
}

void append_chunk(State::Bytes& bytes, const char* name, const State::Bytes& content) {
    bytes.insert(bytes.end(), name, name + 4);
    append(bytes, static_cast<std::uint32_t>(content.size()));
    bytes.insert(bytes.end(), content.begin(), content.end());
}

bool is_named(const State::Chunk& chunk, const char* name) { return std::memcmp(chunk.name.data(), name, 4) == 0; }

bool read_chunks(const std::uint8_t* data, std::size_t size, State& state, std::string& problem) {
    for (std::size_t at = 0; at < size;) {
        const std::size_t left = size - at;
        const std::size_t length = left < kChunkHeaderBytes ? 0 : read<std::uint32_t>(data + at + 4);
        if (left < kChunkHeaderBytes || left - kChunkHeaderBytes < length) {
            problem = "plugin state, byte " + std::to_string(kHeaderBytes + at) + ": a chunk is cut short";
            return false;
        }
        State::Chunk chunk;
        std::memcpy(chunk.name.data(), data + at, 4);
        const std::uint8_t* content = data + at + kChunkHeaderBytes;
        chunk.content.assign(content, content + length);
        state.chunks.push_back(std::move(chunk));
        at += kChunkHeaderBytes + length;
    }
    return true;
}

bool take_values(State& state, std::string& problem) {
    const State::Bytes* rows = state.chunk(kValues);
    if (!rows) return true;
    if (rows->size() % kRowBytes != 0) {
        problem = "plugin state: chunk PARM has " + std::to_string(rows->size()) + " bytes, expected a multiple of 12";
        return false;
    }
    for (std::size_t at = 0; at < rows->size(); at += kRowBytes) {
        const double value = read<double>(rows->data() + at + 4);
        if (std::isfinite(value)) state.values.emplace_back(read<std::uint32_t>(rows->data() + at), value);
    }
    state.set_chunk(kValues, {});
    return true;
}

}  // namespace

const State::Bytes* State::chunk(const char* name) const {
    const auto found = std::find_if(chunks.begin(), chunks.end(), [name](auto& chunk) { return is_named(chunk, name); });
    return found == chunks.end() ? nullptr : &found->content;
}

void State::set_chunk(const char* name, Bytes content) {
    const auto found = std::find_if(chunks.begin(), chunks.end(), [name](auto& chunk) { return is_named(chunk, name); });
    if (content.empty()) {
        if (found != chunks.end()) chunks.erase(found);
    } else if (found != chunks.end()) {
        found->content = std::move(content);
    } else {
        chunks.push_back({{name[0], name[1], name[2], name[3]}, std::move(content)});
    }
}

State::Bytes State::to_bytes() const {
    Bytes rows;
    for (const auto& [id, value] : values) {
        append(rows, id);
        append(rows, value);
    }
    Bytes body;
    append_chunk(body, kValues, rows);
    for (const Chunk& chunk : chunks) append_chunk(body, chunk.name.data(), chunk.content);
    Bytes bytes(kStateMagic, kStateMagic + kMagicBytes);
    append(bytes, kStateVersion);
    append(bytes, checksum(body.data(), body.size()));
    append(bytes, static_cast<std::uint32_t>(body.size()));
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
}

bool State::from_bytes(const std::uint8_t* data, std::size_t size, std::string& problem) {
    if (size < kHeaderBytes || std::memcmp(data, kStateMagic, kMagicBytes) != 0) {
        problem = "this is no state of Latent Terrain";
        return false;
    }
    const auto version = read<std::uint32_t>(data + 8);
    if (version > kStateVersion) {
        problem = "plugin state has version " + std::to_string(version) + ", newer than " +
                  std::to_string(kStateVersion) + ": update Latent Terrain to open it";
        return false;
    }
    const std::size_t body = read<std::uint32_t>(data + 16);
    if (size - kHeaderBytes < body) {
        problem = "plugin state ends at byte " + std::to_string(size) + ": expected " +
                  std::to_string(kHeaderBytes + body) + " bytes";
        return false;
    }
    if (checksum(data + kHeaderBytes, body) != read<std::uint32_t>(data + 12)) {
        problem = "plugin state is damaged: its checksum does not match";
        return false;
    }
    State found;
    if (!read_chunks(data + kHeaderBytes, body, found, problem) || !take_values(found, problem)) return false;
    *this = std::move(found);
    return true;
}

}  // namespace terrain
