// Texts and key-value lists of plugin.hpp.
#ifndef MILLRACE_SDK_TEXT_HPP
#define MILLRACE_SDK_TEXT_HPP

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/plugin.h"

namespace millrace {
namespace sdk {

inline std::string_view view(mr_string text) {
  return text.data == nullptr ? std::string_view() : std::string_view(text.data, static_cast<std::size_t>(text.size));
}
inline mr_string text_of(std::string_view text) { return {text.data(), text.size()}; }

// Keys of the filter's block in main.cf; values as text.
using Settings = std::map<std::string, std::string>;
using Attributes = std::vector<std::pair<std::string, std::string>>;

}  // namespace sdk
}  // namespace millrace

#endif
