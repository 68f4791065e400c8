#include "bridge/messages.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "bridge/clock.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE is set instead
#endif

namespace terrain::bridge {
namespace {

constexpr std::size_t kHeaderBytes = 2 * sizeof(std::uint32_t);
constexpr std::size_t kMostDescriptors = 3;
constexpr std::size_t kReadAtOnce = 65536;

// The first bytes, with the descriptors if there are any; how many bytes went out, -1 if none.
ssize_t send_some(int socket, const std::uint8_t* bytes, std::size_t size, const std::vector<int>& descriptors) {
    if (descriptors.empty()) return ::send(socket, bytes, size, MSG_NOSIGNAL);
    alignas(cmsghdr) char space[CMSG_SPACE(kMostDescriptors * sizeof(int))] = {};
    iovec part{const_cast<std::uint8_t*>(bytes), size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
    return ::sendmsg(socket, &message, MSG_NOSIGNAL);
}

}  // namespace

Connection::Connection(Descriptor socket) : socket_(std::move(socket)) {
    const timeval patience{10, 0};
    ::setsockopt(socket_.number(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

bool Connection::send(Message type, const Bytes& payload, const std::vector<int>& descriptors) {
    if (!socket_ || descriptors.size() > kMostDescriptors) return false;
    const std::uint32_t header[2] = {static_cast<std::uint32_t>(type), static_cast<std::uint32_t>(payload.size())};
    Bytes bytes(kHeaderBytes);
    std::memcpy(bytes.data(), header, kHeaderBytes);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        const auto now = send_some(socket_.number(), bytes.data() + sent, bytes.size() - sent,
                                   sent == 0 ? descriptors : std::vector<int>{});
        if (now < 0 && errno == EINTR) continue;
        if (now <= 0) {
            close();
            return false;
        }
        sent += static_cast<std::size_t>(now);
    }
    return true;
}

std::optional<Received> Connection::receive(int timeout_ms) {
    const std::int64_t until = now_ns() + timeout_ms * kMillisecond;
    while (socket_) {
        if (auto message = take()) return message;
        if (!socket_) break;
        const std::int64_t left = until - now_ns();
        if (!fill(static_cast<int>(std::max<std::int64_t>(left, 0) / kMillisecond))) break;
    }
    return std::nullopt;
}

// Read what is there or comes within the time; false if that is nothing.
bool Connection::fill(int timeout_ms) {
    pollfd ready{socket_.number(), POLLIN, 0};
    const int found = ::poll(&ready, 1, timeout_ms);
    if (found < 0 && errno == EINTR) return true;
    if (found <= 0) return false;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + kReadAtOnce);
    const auto got = ::recv(socket_.number(), buffer_.data() + had, kReadAtOnce, MSG_DONTWAIT);
    buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return true;
    close();
    return false;
}

std::optional<Received> Connection::take() {
    if (buffer_.size() < kHeaderBytes) return std::nullopt;
    std::uint32_t header[2];
    std::memcpy(header, buffer_.data(), kHeaderBytes);
    if (header[1] > kMaxMessageBytes) {
        close();
        return std::nullopt;
    }
    const std::size_t whole = kHeaderBytes + header[1];
    if (buffer_.size() < whole) return std::nullopt;
    Received message{static_cast<Message>(header[0]), Bytes(buffer_.begin() + kHeaderBytes, buffer_.begin() + whole)};
    buffer_.erase(buffer_.begin(), buffer_.begin() + whole);
    return message;
}

}  // namespace terrain::bridge
