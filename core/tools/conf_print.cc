#include "core/tools/conf_print.h"

#include <array>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::size_t kLineLimit = 80, kIndent = 4, kFields = 8;
constexpr std::array<std::size_t, kFields> kColumns = {0, 11, 17, 25, 33, 41, 49, 57};
constexpr std::array kFieldNames = {"service", "type",   "private",       "unprivileged",
                                    "chroot",  "wakeup", "process_limit", "command"};

std::string braced(const std::string& text) {
  return text.find_first_of(kBlanks) == std::string::npos ? text : "{" + text + "}";
}

// The arguments as they are to stand on lines: "-o name=value" is one item, and has a line for itself.
struct Item {
  std::string text;
  bool own_line;
};
std::vector<Item> items_of(const config::Service& service, const Expand& expand) {
  std::vector<Item> out;
  bool in_options = true;
  const auto& words = service.fields;
  for (std::size_t i = kFields; i < words.size(); ++i) {
    if (in_options && (words[i].empty() || words[i][0] != '-' || words[i] == "--")) in_options = false;
    if (in_options && words[i] == "-o" && i + 1 < words.size()) {
      out.push_back({"-o " + braced(expand ? expand(words[i + 1]) : words[i + 1]), true});
      ++i;
    } else {
      out.push_back({in_options ? words[i] : braced(words[i]), false});
    }
  }
  return out;
}

void add_items(std::string& out, std::size_t width, const std::vector<Item>& items, bool fold) {
  for (const Item& item : items) {
    if (item.own_line) width = kLineLimit;
    if (!fold || width + 1 + item.text.size() < kLineLimit) {
      out += " ";
      ++width;
    } else if (width > kIndent) {
      out += "\n" + std::string(kIndent, ' ');
      width = kIndent;
    }
    out += item.text;
    width = item.own_line ? kLineLimit : width + item.text.size();
  }
}

}  // namespace

std::string print_words(std::string_view text, bool fold) {
  std::string out;
  std::size_t width = 0;
  for (const std::string_view word : split(text, kBlanks)) {
    if (width > 0) {
      if (!fold || width + word.size() < kLineLimit) {
        out += ' ';
        ++width;
      } else {
        out += "\n" + std::string(kIndent, ' ');
        width = kIndent;
      }
    }
    out += word;
    width += word.size();
  }
  return out + "\n";
}

std::string print_service(const config::Service& service, bool fold, const Expand& expand) {
  std::string out;
  for (std::size_t i = 0; i < kFields; ++i) {
    if (i > 0) out += ' ';
    if (out.size() < kColumns[i]) out.resize(kColumns[i], ' ');
    out += service.fields[i];
  }
  add_items(out, out.size(), items_of(service, expand), fold);
  return out + "\n";
}

std::vector<std::pair<std::string, std::string>> service_fields(const config::Service& service, const Expand& expand) {
  std::vector<std::pair<std::string, std::string>> out;
  for (std::size_t i = 0; i < kFields; ++i) out.emplace_back(kFieldNames[i], service.fields[i]);
  for (const Item& item : items_of(service, expand)) out.back().second += " " + item.text;
  return out;
}

}  // namespace millrace::tools
