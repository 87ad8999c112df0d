// `millrace explain`: see explain_tool.h.
#include "core/tools/explain_tool.h"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/filter/trace.h"

namespace millrace::tools {

namespace {

using Json = nlohmann::json;

std::string text_of(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? printable(found->get<std::string>()) : std::string();
}

std::int64_t number_of(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::string time_text(std::int64_t micros) {
  const std::time_t seconds = micros / 1'000'000;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
  return fmt::format("{}.{:06}", date, micros % 1'000'000);
}

void explain_line(const Json& line, std::string& out) {
  out += fmt::format("{}  {:<7} {:<24} {}", time_text(number_of(line, "when")), text_of(line, "stage"),
                     text_of(line, "filter"), text_of(line, "action"));
  if (const auto code = number_of(line, "code"); code != 0) out += fmt::format(" {}", code);
  if (const auto text = text_of(line, "text"); !text.empty()) out += " " + text;
  if (const auto recipient = text_of(line, "recipient"); !recipient.empty()) out += " rcpt=<" + recipient + ">";
  if (const auto reason = text_of(line, "reason"); !reason.empty()) out += " [" + reason + "]";
  if (line.value("shadow", false)) out += " (shadow: not applied)";
  out += fmt::format(" {} us\n", number_of(line, "latency_us"));
  if (const auto failure = text_of(line, "failure"); !failure.empty()) out += "    failed: " + failure + "\n";
  if (const auto edits = line.find("edits"); edits != line.end() && edits->is_array()) {
    for (const Json& edit : *edits) {
      if (edit.is_string()) out += "    " + printable(edit.get<std::string>()) + "\n";
    }
  }
  if (const auto facts = line.find("facts"); facts != line.end() && facts->is_object()) {
    for (const auto& [name, value] : facts->items()) {
      if (value.is_string()) out += "    " + printable(name) + "=" + printable(value.get<std::string>()) + "\n";
    }
  }
}

}  // namespace

std::string explain_text(const std::vector<std::string>& lines) {
  std::string out, session;
  for (const std::string& text : lines) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object()) continue;
    if (const std::string name = text_of(line, "session"); name != session) {
      session = name;
      out += "session " + name + " client " + text_of(line, "client");
      if (const std::string helo = text_of(line, "helo"); !helo.empty()) out += " helo " + helo;
      out += "\n";
    }
    explain_line(line, out);
  }
  return out;
}

int explain_main(int argc, char** argv, const std::string& config_directory) {
  std::string key;
  bool json = false, usage = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (key.empty() && !argument.empty() && argument[0] != '-') {
      key = argument;
    } else {
      usage = true;
    }
  }
  if (usage || key.empty()) {
    fmt::print(stderr, "usage: millrace explain QUEUE-ID [--json]\n");
    return 2;
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const std::string directory = config->params().queue_directory + "/trace";
  const auto lines = filter::find_trace(directory, key);
  if (!lines) {
    fmt::print(stderr, "millrace explain: {}\n", lines.error().context);
    return 2;
  }
  if (lines->empty()) {
    fmt::print(stderr, "millrace explain: {}: nothing in the decision trace\n", printable(key));
    return 1;
  }
  if (!json) {
    fmt::print("{}", explain_text(*lines));
    return 0;
  }
  Json trace = Json::array();
  for (const std::string& line : *lines) {
    if (Json parsed = Json::parse(line, nullptr, false); parsed.is_object()) trace.push_back(std::move(parsed));
  }
  fmt::print("{}\n", Json{{"key", key}, {"trace", std::move(trace)}}.dump(2, ' ', false, Json::error_handler_t::replace));
  return 0;
}

}  // namespace millrace::tools
