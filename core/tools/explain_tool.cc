// `millrace explain`: see explain_tool.h.
#include "core/tools/explain_tool.h"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <optional>
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
  if (const auto sender = text_of(line, "sender"); !sender.empty() && text_of(line, "stage") == "mail") out += " from=" + sender;
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

namespace {

constexpr char kUsage[] =
    "usage: millrace explain QUEUE-ID|SESSION [--json]\n"
    "       millrace explain [--client NAME-OR-ADDRESS] [--sender ADDRESS] [--since TIME] [--until TIME] [--json]\n"
    "TIME is \"2026-11-21 15:04:05\", \"15:04\" (today), or how long ago: 10m, 2h\n";

// Microseconds since 1970; nullopt for what is no time.
std::optional<std::int64_t> parse_when(const std::string& text) {
  if (const auto ago = config::parse_time(text)) {
    return wall_now() - std::chrono::duration_cast<std::chrono::microseconds>(*ago).count();
  }
  std::time_t now = std::time(nullptr);
  for (const char* format : {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S", "%H:%M"}) {
    std::tm local{};
    ::localtime_r(&now, &local);
    local.tm_sec = 0;
    if (std::string_view(format) == "%Y-%m-%d") local.tm_hour = local.tm_min = 0;
    const char* const end = ::strptime(text.c_str(), format, &local);
    if (end == nullptr || *end != '\0') continue;
    local.tm_isdst = -1;
    return static_cast<std::int64_t>(std::mktime(&local)) * 1'000'000;
  }
  return {};
}

struct Question {
  std::string key, client, sender;
  std::optional<std::int64_t> since, until;
  bool json = false, has_sender = false;
};

std::optional<Question> parse(int argc, char** argv) {
  Question out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      out.json = true;
    } else if (word == "--client" || word == "--sender" || word == "--since" || word == "--until") {
      if (++i == argc) return {};
      std::string value = argv[i];
      if (word == "--client") {
        out.client = value;
      } else if (word == "--sender") {
        if (value.size() > 2 && value.starts_with('<')) value = value.substr(1, value.size() - 2);
        out.sender = value.empty() ? "<>" : value;
      } else {
        auto& when = word == "--since" ? out.since : out.until;
        if (when = parse_when(value); !when) return {};
      }
    } else if (out.key.empty() && !word.empty() && word[0] != '-') {
      out.key = word;
    } else {
      return {};
    }
  }
  const bool search = !out.client.empty() || !out.sender.empty() || out.since || out.until;
  if (out.key.empty() != search) return {};
  return out;
}

// Does a line of the trace fit? "client" is name[address]: either, or the whole.
bool fits(const Question& question, std::string_view text) {
  const Json line = Json::parse(text, nullptr, false);
  if (!line.is_object()) return false;
  const std::int64_t when = number_of(line, "when");
  if ((question.since && when < *question.since) || (question.until && when > *question.until)) return false;
  if (!question.sender.empty() && !iequals(line.value("sender", ""), question.sender)) return false;
  if (question.client.empty()) return true;
  const std::string client = line.value("client", "");
  const std::size_t bracket = client.rfind('[');
  return iequals(client, question.client) || (bracket != client.npos && (iequals(client.substr(0, bracket), question.client) ||
                                                                        client.substr(bracket) == "[" + question.client + "]"));
}

}  // namespace

int explain_main(int argc, char** argv, const std::string& config_directory) {
  const auto question = parse(argc, argv);
  if (!question) {
    fmt::print(stderr, "{}", kUsage);
    return 2;
  }
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  const std::string directory = config->params().queue_directory + "/trace";
  const auto lines = question->key.empty() ? filter::find_trace(directory, [&](std::string_view line) { return fits(*question, line); })
                                           : filter::find_trace(directory, std::string_view(question->key));
  if (!lines) {
    fmt::print(stderr, "millrace explain: {}\n", lines.error().context);
    return 2;
  }
  if (lines->empty()) {
    fmt::print(stderr, "millrace explain: {}nothing in the decision trace\n", question->key.empty() ? "" : printable(question->key) + ": ");
    return 1;
  }
  if (!question->json) {
    fmt::print("{}", explain_text(*lines));
    return 0;
  }
  Json trace = Json::array();
  for (const std::string& line : *lines) {
    if (Json parsed = Json::parse(line, nullptr, false); parsed.is_object()) trace.push_back(std::move(parsed));
  }
  fmt::print("{}\n", Json{{"key", question->key}, {"trace", std::move(trace)}}.dump(2, ' ', false, Json::error_handler_t::replace));
  return 0;
}

}  // namespace millrace::tools
