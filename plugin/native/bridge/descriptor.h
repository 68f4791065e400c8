// A file descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <utility>

namespace terrain::bridge {

class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() { close(); }

    int number() const { return number_; }
    explicit operator bool() const { return number_ >= 0; }
    void close() {
        if (number_ >= 0) ::close(std::exchange(number_, -1));
    }

private:
    int number_ = -1;
};

// Two connected stream sockets, closed on exec. Empty ones if the system has none left.
std::pair<Descriptor, Descriptor> socket_pair();

}  // namespace terrain::bridge
