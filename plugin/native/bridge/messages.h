// Messages on the control and nursery connections: `u32 Message, u32 bytes`, payload, and now and then descriptors.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "bridge/descriptor.h"
#include "generated/protocol.h"

namespace terrain::bridge {

using Bytes = std::vector<std::uint8_t>;

struct Received {
    Message type;
    Bytes payload;

    // The payload's first bytes as a record; nothing if it is too short for one.
    template <typename Record>
    std::optional<Record> record() const {
        if (payload.size() < sizeof(Record)) return std::nullopt;
        Record found;
        std::memcpy(&found, payload.data(), sizeof found);
        return found;
    }
    // What follows that record.
    template <typename Record>
    Bytes after() const {
        return Bytes(payload.begin() + std::min(payload.size(), sizeof(Record)), payload.end());
    }
};

// One end of a connection. Used by one thread at a time.
class Connection {
public:
    Connection() = default;
    explicit Connection(Descriptor socket);

    int descriptor() const { return socket_.number(); }
    explicit operator bool() const { return static_cast<bool>(socket_); }
    void close() { socket_.close(); }

    // False: the other end is gone, or does not take it within 10 s; the connection is closed then.
    bool send(Message type, const Bytes& payload, const std::vector<int>& descriptors = {});

    // The next message if it comes within `timeout_ms` (0: only what is there); closes the connection when the other
    // end is gone or talks nonsense.
    std::optional<Received> receive(int timeout_ms);

private:
    bool fill(int timeout_ms);
    std::optional<Received> take();

    Descriptor socket_;
    Bytes buffer_;
};

template <typename Record>
Bytes payload(const Record& record, const Bytes& rest = {}) {
    Bytes bytes(sizeof record + rest.size());
    std::memcpy(bytes.data(), &record, sizeof record);
    std::copy(rest.begin(), rest.end(), bytes.begin() + sizeof record);
    return bytes;
}

}  // namespace terrain::bridge
