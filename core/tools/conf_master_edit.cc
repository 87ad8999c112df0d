// Editing master.cf in place of text: an entry that changes is written anew, all other lines stay as they are.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/base/strings.h"
#include "core/config/main_cf.h"
#include "core/config/master_cf.h"
#include "core/tools/conf.h"
#include "core/tools/conf_print.h"

namespace millrace::tools {
namespace {

using Edit = ConfRequest::Edit;
using What = ConfRequest::What;

constexpr std::size_t kFields = 8, kCommand = 7;
constexpr std::string_view kBlanks = " \t\r\n";

// "smtp/inet/chroot=n"
struct Request {
  std::string service, type, attribute, value, as_written;
  bool matched = false;
  bool names(const config::Service& one) const {
    return (service == "*" || service == one.name) && (type == "*" || type == one.type);
  }
};

// One logical line, syntax alone: what it means is looked at when it is used.
std::optional<config::Service> parse_entry(const std::string& text) {
  config::Findings findings;
  auto parsed = config::parse_master_cf(std::string(trim(text)) + "\n", "", false, findings);
  if (parsed.size() != 1 || findings.has_errors()) return {};
  return std::move(parsed[0]);
}

std::size_t field_index(std::string_view name) {
  config::Service empty;
  empty.fields.assign(kFields, "");
  const auto fields = service_fields(empty, {});
  const auto found = std::find_if(fields.begin(), fields.end(), [name](const auto& field) { return field.first == name; });
  return static_cast<std::size_t>(found - fields.begin());
}

std::string read_requests(What what, Edit edit, const std::vector<std::string>& texts, std::vector<Request>& out) {
  const char letter = what == What::services ? 'M' : what == What::fields ? 'F' : 'P';
  if (edit == Edit::remove && what == What::fields) return "with option -F, do not specify -X";
  if (edit == Edit::comment_out && what != What::services) return fmt::format("with option -{}, do not specify -#", letter);
  if (texts.empty()) return "nothing to edit";
  for (const std::string& text : texts) {
    if (text.find_first_of(std::string_view("\n\0", 2)) != std::string::npos) return "no newlines, please: " + printable(text);
    Request request;
    request.as_written = text;
    std::string_view name = trim(text), value;
    if (name.starts_with('#')) return "no comments, please: " + text;
    if (edit == Edit::set) {
      if (const char* problem = config::split_assignment(text, name, value)) return fmt::format("{}: \"{}\"", problem, text);
    }
    const auto parts = split(name, "/");
    if (parts.size() != (what == What::services ? 2U : 3U)) {
      return fmt::format("-{} requires service_name/type{}: \"{}\"", letter,
                         what == What::services ? "" : what == What::fields ? "/field" : "/parameter", text);
    }
    request.service = parts[0];
    request.type = parts[1];
    if (parts.size() > 2) request.attribute = parts[2];
    request.value = value;
    if (edit == Edit::set && what == What::services && !parse_entry(request.value)) {
      return fmt::format("bad master.cf entry: \"{}\"", request.value);
    }
    if (edit == Edit::set && what == What::service_parameters && request.value.find_first_of(kBlanks) != std::string::npos) {
      return "-Pe does not accept whitespace in parameter value";
    }
    if (what == What::fields && field_index(request.attribute) >= kFields) {
      return fmt::format("bad field name: \"{}\"", request.attribute);
    }
    out.push_back(std::move(request));
  }
  return "";
}

// "-o name=value" among the arguments; those behind the first word that is no option belong to the command.
void edit_parameter(config::Service& service, const Request& request, Edit edit) {
  auto& words = service.fields;
  std::size_t at = kFields;
  bool done = false;
  while (at < words.size() && words[at].starts_with('-') && words[at] != "--") {
    if (words[at] != "-o" || at + 1 >= words.size()) {
      ++at;
      continue;
    }
    const std::string_view option = words[at + 1];
    if (trim(option.substr(0, option.find('='))) != request.attribute) {
      at += 2;
    } else if (edit == Edit::remove || done) {
      words.erase(words.begin() + static_cast<long>(at), words.begin() + static_cast<long>(at) + 2);
    } else {
      words[at + 1] = request.attribute + "=" + request.value;
      done = true;
      at += 2;
    }
  }
  if (edit == Edit::set && !done) {
    const std::string added[] = {"-o", request.attribute + "=" + request.value};
    words.insert(words.begin() + static_cast<long>(at), std::begin(added), std::end(added));
  }
}

// False: the entry would be none any more.
bool edit_field(config::Service& service, const Request& request) {
  const std::size_t index = field_index(request.attribute);
  if (index < kCommand) {
    service.fields[index] = request.value;
  } else {
    std::string text;
    for (std::size_t i = 0; i < kCommand; ++i) text += service.fields[i] + " ";
    const auto parsed = parse_entry(text + request.value);
    if (!parsed) return false;
    service.fields = parsed->fields;
  }
  std::string text;
  for (const std::string& field : service.fields) text += (field.find_first_of(kBlanks) == field.npos ? field : "{" + field + "}") + " ";
  return parse_entry(text).has_value();
}

// The physical lines of one logical line, comments between them apart.
struct Entry {
  std::vector<std::pair<std::string, bool>> lines;   // text and: is it a comment?
  std::string logical;
};

class Editor {
 public:
  Editor(What what, Edit edit, std::vector<Request> requests) : what_(what), edit_(edit), requests_(std::move(requests)) {}

  std::string run(std::string_view text, std::vector<std::string>& warnings, std::string& problem) {
    Entry entry;
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      const std::string line(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      const std::string_view content = trim(line);
      const bool comment = content.empty() || content[0] == '#';
      if (!comment && !is_space(line[0])) finish(entry);
      entry.lines.emplace_back(line, comment);
      if (!comment) entry.logical += " " + std::string(content);
    }
    finish(entry);
    for (const Request& request : requests_) {
      if (request.matched) continue;
      if (what_ == What::services && edit_ == Edit::set) {
        out_ += print_service(*parse_entry(request.value), true, {});
      } else if (what_ != What::services) {
        warnings.push_back(fmt::format("unmatched service_name/type: \"{}\"", request.as_written));
      }
    }
    problem = problem_;
    return std::move(out_);
  }

 private:
  void finish(Entry& given) {
    Entry entry = std::exchange(given, {});
    // Comments behind the last part belong to what follows.
    std::vector<std::pair<std::string, bool>> behind;
    while (!entry.lines.empty() && entry.lines.back().second) {
      behind.insert(behind.begin(), std::move(entry.lines.back()));
      entry.lines.pop_back();
    }
    if (!entry.lines.empty()) change(entry);
    for (const auto& [line, comment] : behind) out_ += line + "\n";
  }

  void change(const Entry& entry) {
    auto service = parse_entry(entry.logical);
    Request* found = nullptr;
    if (service) {
      for (Request& request : requests_) {
        if (!request.names(*service)) continue;
        request.matched = true;
        found = &request;
        if (what_ == What::service_parameters) edit_parameter(*service, request, edit_);
        if (what_ == What::fields && !edit_field(*service, request)) {
          problem_ = fmt::format("bad value: \"{}\"", request.as_written);
        }
      }
    }
    if (found == nullptr) {
      for (const auto& [line, comment] : entry.lines) out_ += line + "\n";
    } else if (what_ == What::services && edit_ == Edit::comment_out) {
      for (const auto& [line, comment] : entry.lines) out_ += (comment ? "" : "#") + line + "\n";
    } else {
      const std::string comments = comments_of(entry);
      if (what_ != What::services) out_ += comments + print_service(*service, true, {});
      else if (edit_ == Edit::set) out_ += print_service(*parse_entry(found->value), true, {}) + comments;
      else out_ += comments;
    }
  }

  static std::string comments_of(const Entry& entry) {
    std::string out;
    for (const auto& [line, comment] : entry.lines) {
      if (comment) out += line + "\n";
    }
    return out;
  }

  What what_;
  Edit edit_;
  std::vector<Request> requests_;
  std::string out_, problem_;
};

}  // namespace

std::string edit_master_cf(std::string_view text, ConfRequest::What what, ConfRequest::Edit edit,
                           const std::vector<std::string>& requests, std::vector<std::string>& warnings, std::string& problem) {
  std::vector<Request> wanted;
  problem = read_requests(what, edit, requests, wanted);
  if (!problem.empty()) return std::string(text);
  return Editor(what, edit, std::move(wanted)).run(text, warnings, problem);
}

}  // namespace millrace::tools
