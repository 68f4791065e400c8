#include "bridge/interpreter.h"

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace terrain::bridge {
namespace {

// The folder of the library that this code is in.
std::string own_folder() {
    Dl_info info;
    if (!::dladdr(reinterpret_cast<void*>(&own_folder), &info) || !info.dli_fname) return "";
    const std::string file = info.dli_fname;
    const auto slash = file.rfind('/');
    return slash == std::string::npos ? "." : file.substr(0, slash);
}

std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    if (file) text << file.rdbuf();
    return text.str();
}

void append_utf8(std::string& text, unsigned code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xC0 | code >> 6);
        text += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        text += static_cast<char>(0xE0 | code >> 12);
        text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        text += static_cast<char>(0xF0 | code >> 18);
        text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
        text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        text += static_cast<char>(0x80 | (code & 0x3F));
    }
}

// Four hexadecimal digits at `at`, which moves past them.
unsigned code_unit(const std::string& json, std::size_t& at) {
    const unsigned unit = static_cast<unsigned>(std::strtoul(json.substr(at, 4).c_str(), nullptr, 16));
    at += 4;
    return unit;
}

// The JSON string whose opening quote is before `at`; `at` moves past its closing one.
std::string string_at(const std::string& json, std::size_t& at) {
    std::string text;
    while (at < json.size() && json[at] != '"') {
        char letter = json[at++];
        if (letter != '\\' || at >= json.size()) {
            text += letter;
            continue;
        }
        letter = json[at++];
        if (letter == 'u') {
            unsigned code = code_unit(json, at);
            if (code >= 0xD800 && code < 0xDC00 && json.compare(at, 2, "\\u") == 0) {  // half of a pair
                at += 2;
                code = 0x10000 + ((code - 0xD800) << 10) + (code_unit(json, at) - 0xDC00);
            }
            append_utf8(text, code);
        } else {
            const std::string from = "bfnrt", to = "\b\f\n\r\t";
            const auto escape = from.find(letter);
            text += escape == std::string::npos ? letter : to[escape];
        }
    }
    ++at;
    return text;
}

}  // namespace

std::string text_in_json(const std::string& json, const std::string& key) {
    std::size_t at = 0;
    while ((at = json.find('"', at)) != std::string::npos) {
        const bool wanted = string_at(json, ++at) == key;
        at = json.find_first_not_of(" \t\r\n", at);
        if (at == std::string::npos || json[at] != ':') continue;  // that was a value
        at = json.find_first_not_of(" \t\r\n", at + 1);
        if (at == std::string::npos) break;
        if (wanted) return json[at] == '"' ? string_at(json, ++at) : "";
    }
    return "";
}

std::string interpreter() {
    const char* chosen = std::getenv("LATENT_TERRAIN_PYTHON");
    if (chosen && *chosen) return chosen;
    const std::string folder = own_folder();
    for (const char* place : {"/engine.json", "/../Resources/engine.json"}) {
        const std::string python = text_in_json(content(folder + place), "python");
        if (!python.empty()) return python;
    }
    return "";
}

}  // namespace terrain::bridge
