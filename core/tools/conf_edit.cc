// Editing main.cf in place of text: whole logical lines are replaced, comments between their parts stay.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/base/strings.h"
#include "core/config/main_cf.h"
#include "core/tools/conf.h"

namespace millrace::tools {
namespace {

using Edit = ConfRequest::Edit;

struct Wanted {
  std::string name, value;
  int found = 0;
};

// The requests in order, the last one for a name; "" or what is wrong.
std::string read_requests(Edit edit, const std::vector<std::string>& requests, std::vector<Wanted>& out,
                          std::vector<std::string>& warnings) {
  for (const std::string& request : requests) {
    if (request.find_first_of(std::string_view("\n\0", 2)) != std::string::npos) return "no newlines, please: " + printable(request);
    std::string_view name = trim(request), value;
    if (name.starts_with('#')) return "no comments, please: " + request;
    if (edit == Edit::set) {
      if (const char* problem = config::split_assignment(request, name, value)) return fmt::format("{}: \"{}\"", problem, request);
    } else if (name.empty() || name.find('=') != std::string_view::npos) {
      return fmt::format("a parameter name is wanted, without value: \"{}\"", request);
    }
    const auto old = std::find_if(out.begin(), out.end(), [name](const Wanted& item) { return item.name == name; });
    if (old != out.end()) {
      warnings.push_back(fmt::format("ignoring earlier request: '{} = {}'", old->name, old->value));
      out.erase(old);
    }
    out.push_back({std::string(name), std::string(value), 0});
  }
  return requests.empty() ? "nothing to edit" : "";
}

}  // namespace

std::string edit_main_cf(std::string_view text, Edit edit, const std::vector<std::string>& requests,
                         std::vector<std::string>& warnings, std::string& problem) {
  std::vector<Wanted> wanted;
  problem = read_requests(edit, requests, wanted, warnings);
  if (!problem.empty()) return std::string(text);

  std::string out;
  bool inside = false;   // in a logical line that is being replaced
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::string_view content = trim(line);
    const bool is_comment = content.empty() || content[0] == '#';
    if (!is_comment && !is_space(line[0])) {
      const std::string_view name = line.substr(0, line.find_first_of(" \t\r\n\v\f="));
      const auto item = std::find_if(wanted.begin(), wanted.end(), [name](const Wanted& w) { return w.name == name; });
      inside = item != wanted.end();
      if (inside) {
        if (item->found++ == 1) warnings.push_back(fmt::format("multiple entries for \"{}\"", name));
        if (edit == Edit::set) out += fmt::format("{} = {}\n", item->name, item->value);
        if (edit == Edit::comment_out) out += fmt::format("#{}\n", line);
        continue;
      }
    }
    if (is_comment || !inside) {
      out += line;
      out += '\n';
    } else if (edit == Edit::comment_out) {
      out += fmt::format("#{}\n", line);
    }
  }
  for (const Wanted& item : wanted) {
    if (edit == Edit::set && item.found == 0) out += fmt::format("{} = {}\n", item.name, item.value);
  }
  return out;
}

}  // namespace millrace::tools
