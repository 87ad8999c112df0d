// Listing plugins, and the way to the kit and the template: see plugin_tool.h.
#include "core/tools/plugin_tool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/config/config.h"
#include "core/filter/element.h"
#include "core/plugin/library.h"
#include "core/plugin/options.h"
#include "core/plugin/order.h"
#include "core/tools/plugin_check.h"
#include "core/tools/plugin_new.h"

namespace millrace::tools {
namespace {

using nlohmann::json;

constexpr unsigned kLoadSeconds = 5;
constexpr std::size_t kMaxReport = 1 << 20;

std::string report(const std::string& directory, const std::string& name) {
  const auto library = plugin::Library::open(directory, name);
  return library ? plugin::describe(**library) : json{{"plugin", name}, {"error", library.error().context}}.dump();
}

std::string read_all(int fd) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t n = ::read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || text.size() > kMaxReport) return text;
    text.append(piece, static_cast<std::size_t>(n));
  }
}

// Loading runs the plugin's static constructors: whatever they do dies with the child.
json examine(const std::string& directory, const std::string& name) {
  const auto failed = [&](const std::string& why) { return json{{"plugin", name}, {"error", why}}; };
  int ends[2];
  if (pipe(ends) != 0) return failed("no pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) return failed("no process");
  if (child == 0) {
    ::close(ends[0]);
    alarm(kLoadSeconds);
    std::string text = report(directory, name);
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t n = ::write(ends[1], text.data() + at, text.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    _exit(0);
  }
  ::close(ends[1]);
  const std::string text = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return failed("it ended by signal " + std::to_string(WTERMSIG(status)) + " while it was loaded");
  json parsed = json::parse(text, nullptr, false);
  return parsed.is_object() ? parsed : failed("no report from it");
}

std::string joined(const json& list) {
  std::string out;
  for (const json& word : list) out += (out.empty() ? "" : " ") + word.get<std::string>();
  return out.empty() ? "none" : out;
}

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void print(const json& one) {
  const std::string name = one.value("plugin", "?");
  if (one.contains("error")) {
    std::printf("%s: cannot be used: %s\n", name.c_str(), one.value("error", "").c_str());
    return;
  }
  for (const json& filter : one["filters"]) {
    const std::string id = filter.value("id", "");
    std::printf("%s %s: %s\n", (id == name ? "plugin:" + name : "plugin:" + name + "/" + id).c_str(),
                filter.value("version", "").c_str(), filter.value("summary", "").c_str());
    std::printf("  status %s, posture %s, ABI %s\n", filter.value("status", "").c_str(), filter.value("posture", "").c_str(),
                one.value("abi", "").c_str());
    std::printf("  stages %s; edits %s\n", joined(filter["stages"]).c_str(), joined(filter["edits"]).c_str());
    for (const char* const order : {"before", "after"}) {
      if (filter.contains(order)) std::printf("  must be asked %s: %s\n", order, joined(filter[order]).c_str());
    }
    if (!filter.contains("config") || !filter["config"].is_object()) continue;
    for (const auto& [key, about] : filter["config"].items()) {
      if (!about.is_object()) continue;
      std::string fallback = about.contains("default") ? text_of(about["default"]) : "";
      if (!fallback.empty()) fallback.insert(0, ", default ");
      std::printf("  %-24s %s (%s%s)\n", key.c_str(), about.value("doc", "").c_str(), about.value("type", "string").c_str(),
                  fallback.c_str());
    }
  }
}

int usage(const char* program) {
  std::fprintf(stderr,
               "usage: %s plugin list [--json] [NAME ...]\n"
               "       %s plugin check FILE.so [KEY=VALUE ...]\n"
               "       %s plugin new [--lang c|cxx] NAME\n",
               program, program, program);
  return 2;
}

// Whom the filter called `name` ("plugin:dkim/ID") wants to be asked before and after, by the reports of its plugin.
plugin::Wishes wishes_of(const std::string& name, const std::string& directory) {
  plugin::Wishes out{name, {}, {}};
  if (!name.starts_with("plugin:")) return out;
  const std::size_t slash = name.find('/');
  const std::string file = name.substr(7, slash == name.npos ? name.npos : slash - 7);
  const json report = examine(directory, file);
  if (!report.contains("filters") || report["filters"].empty()) return out;
  for (const json& filter : report["filters"]) {
    const std::string id = filter.value("id", "");
    if (slash == name.npos ? &filter != &report["filters"].front() : id != name.substr(slash + 1)) continue;
    out.before = filter.value("before", out.before);
    out.after = filter.value("after", out.after);
    break;
  }
  return out;
}

// The chain that main.cf asks for, in the order it will be asked in.
void print_chain(const config::Config& config) {
  const auto elements = filter::split_braced(config.params().smtpd_filters);
  if (!elements || elements->empty()) return;
  std::vector<plugin::Wishes> filters;
  for (const std::string& element : *elements) {
    const auto parsed = filter::parse_element(element);
    filters.push_back(wishes_of(parsed ? parsed->name : element, config.params().plugin_directory));
  }
  const auto order = plugin::resolve_order(filters);
  if (!order) return void(std::printf("smtpd_filters: %s\n", order.error().context.c_str()));
  std::printf("smtpd_filters, in order:\n");
  for (std::size_t i = 0; i < order->size(); ++i) {
    std::printf("  %s%s\n", filters[(*order)[i]].name.c_str(), (*order)[i] == i ? "" : "   (moved by before/after)");
  }
}

int list(int argc, char** argv, const std::string& config_directory) {
  bool as_json = false;
  std::vector<std::string> names;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json") as_json = true;
    else if (word.starts_with('-')) return usage(argv[0]);
    else names.push_back(word);
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const std::string directory = config->params().plugin_directory;
  if (names.empty()) {
    auto found = plugin::plugin_names(directory);
    if (!found) {
      std::fprintf(stderr, "%s: %s\n", argv[0], found.error().context.c_str());
      return 2;
    }
    names = std::move(*found);
  }
  json all = json::array();
  bool good = true;
  for (const std::string& name : names) {
    all.push_back(examine(directory, name));
    good = good && !all.back().contains("error");
  }
  if (as_json) {
    std::printf("%s\n", all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  } else {
    for (const json& one : all) print(one);
    print_chain(*config);
  }
  return good ? 0 : 1;
}

}  // namespace

int plugin_main(int argc, char** argv, const std::string& config_directory) {
  const std::string_view word = argc < 2 ? "" : argv[1];
  if (word == "list") return list(argc, argv, config_directory);
  if (word == "check" && argc >= 3) return plugin_check(argv[2], {argv + 3, argv + argc});
  if (word == "new" && argc == 3 && argv[2][0] != '-') return plugin_new("cxx", argv[2]);
  if (word == "new" && argc == 5 && std::string_view(argv[2]) == "--lang") return plugin_new(argv[3], argv[4]);
  return usage(argv[0]);
}

}  // namespace millrace::tools
