// The laws of the parameter table, as terrain_core/parameters.py has them.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <locale>
#include <sstream>

#include "core/plugin.h"
#include "generated/parameters.h"

namespace terrain {
namespace {

std::string lower(std::string text) {
    for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return text;
}

std::string trimmed(const std::string& text) {
    const char* blanks = " \t\r\n";
    const auto first = text.find_first_not_of(blanks);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string without_unit(const std::string& text, const std::string& unit) {
    const bool has_it = !unit.empty() && text.size() >= unit.size() &&
                        text.compare(text.size() - unit.size(), unit.size(), unit) == 0;
    return has_it ? trimmed(text.substr(0, text.size() - unit.size())) : text;
}

// The host may have set a locale with decimal commas: these two do not care.
std::string number_text(double value, int decimals) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.setf(std::ios::fixed);
    text.precision(decimals);
    text << value;
    // Hosts round: -0.0 is no level that anybody has set.
    const bool minus_zero = value < 0 && text.str().find_first_not_of("-0.") == std::string::npos;
    return minus_zero ? text.str().substr(1) : text.str();
}

bool parse_number(const std::string& text, double& value) {
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    return stream >> value && stream.peek() == std::istringstream::traits_type::eof();
}

}  // namespace

double clamp(const Parameter& parameter, double plain) {
    if (std::isnan(plain)) return parameter.initial;
    const double value = std::clamp(plain, parameter.low, parameter.high);
    return parameter.steps ? std::nearbyint(value) : value;
}

double to_normalised(const Parameter& parameter, double plain) {
    return (clamp(parameter, plain) - parameter.low) / (parameter.high - parameter.low);
}

double from_normalised(const Parameter& parameter, double normalised) {
    if (std::isnan(normalised)) return parameter.initial;
    const double x = std::clamp(normalised, 0.0, 1.0);
    if (parameter.steps)  // equal parts, as VST3 prescribes
        return parameter.low + std::min<double>(parameter.steps, std::floor(x * (parameter.steps + 1.0)));
    return clamp(parameter, parameter.low + x * (parameter.high - parameter.low));
}

std::string text(const Parameter& parameter, double plain) {
    const double value = clamp(parameter, plain);
    for (std::uint32_t i = 0; i < parameter.word_count; ++i)
        if (parameter.words[i].value == value) return parameter.words[i].text;
    const std::string number = number_text(value, static_cast<int>(parameter.decimals));
    return *parameter.unit ? number + " " + parameter.unit : number;
}

bool parse(const Parameter& parameter, const std::string& text, double& plain) {
    const std::string wanted = lower(trimmed(text));
    for (std::uint32_t i = 0; i < parameter.word_count; ++i)
        if (lower(parameter.words[i].text) == wanted) {
            plain = parameter.words[i].value;
            return true;
        }
    double value;
    if (!parse_number(without_unit(wanted, lower(parameter.unit)), value)) return false;
    if (!(value >= parameter.low && value <= parameter.high)) return false;
    if (parameter.steps && value != std::nearbyint(value)) return false;
    plain = value;
    return true;
}

std::uint32_t index_of(std::uint32_t id) {
    std::uint32_t index = 0;
    while (index < kParameterCount && kParameters[index].id != id) ++index;
    return index;
}

}  // namespace terrain
