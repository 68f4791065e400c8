#include "bridge/descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>

namespace terrain::bridge {

std::pair<Descriptor, Descriptor> socket_pair() {
    int ends[2];
#ifdef SOCK_CLOEXEC
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return {};
#else
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return {};
    for (int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
#endif
#ifdef SO_NOSIGPIPE  // macOS knows no MSG_NOSIGNAL
    const int on = 1;
    for (int end : ends) ::setsockopt(end, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace terrain::bridge
