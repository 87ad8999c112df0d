// Reading a filter's text: see element.h.
#include "core/filter/element.h"

#include "core/base/strings.h"
#include "core/config/config.h"

namespace millrace::filter {

constexpr std::string_view kSeparators = ", \t\r\n";

std::optional<std::vector<std::string>> split_braced(std::string_view text) {
  std::vector<std::string> out;
  std::string current;
  int depth = 0;
  for (const char c : text) {
    if (depth == 0 && kSeparators.find(c) != kSeparators.npos) {
      if (!current.empty()) out.push_back(std::exchange(current, {}));
      continue;
    }
    if (c == '{') ++depth;
    if (c == '}' && --depth < 0) return {};
    current += c;
  }
  if (depth != 0) return {};
  if (!current.empty()) out.push_back(std::move(current));
  return out;
}

std::optional<KeyValue> parse_assignment(std::string_view text) {
  if (text.starts_with('{') && text.ends_with('}')) text = text.substr(1, text.size() - 2);
  const std::size_t equal = text.find('=');
  if (equal == text.npos || trim(text.substr(0, equal)).empty()) return {};
  return KeyValue(trim(text.substr(0, equal)), trim(text.substr(equal + 1)));
}

Result<Element> parse_element(std::string_view text) {
  Element element;
  if (!text.starts_with('{')) {
    element.name = text;
    return element;
  }
  const auto words = text.size() < 2 ? std::nullopt : split_braced(text.substr(1, text.size() - 2));
  if (!words || words->empty()) return fail(Errc::config, "empty or unbalanced { }");
  element.name = words->front();
  for (std::size_t i = 1; i < words->size(); ++i) {
    auto pair = parse_assignment((*words)[i]);
    if (!pair) return fail(Errc::config, "\"" + (*words)[i] + "\" is not name=value");
    element.keys.push_back(std::move(*pair));
  }
  return element;
}

// "5", "5/30s", "5/30s/2m".
std::optional<BreakerRule> parse_breaker(std::string_view text) {
  BreakerRule rule;
  const auto parts = split(text, "/");
  if (parts.empty() || parts.size() > 3 || text.ends_with('/')) return {};
  const auto failures = parse_number<unsigned>(trim(parts[0]));
  const auto open = parts.size() > 1 ? config::parse_time(trim(parts[1])) : rule.open;
  const auto grace = parts.size() > 2 ? config::parse_time(trim(parts[2])) : rule.grace;
  if (!failures || !open || !grace) return {};
  return BreakerRule{*failures, *open, *grace};
}

Result<bool> set_common_option(Options& options, const KeyValue& pair) {
  const std::string &name = pair.first, &value = pair.second;
  const auto wrong = [&](std::string_view what) { return fail(Errc::config, name + ": \"" + value + "\" is " + std::string(what)); };
  if (name == "timeout") {
    const auto span = config::parse_time(value);
    if (!span || span->count() == 0) return wrong("not a time");
    options.timeout = *span;
  } else if (name == "shadow") {
    const auto on = config::parse_bool(value);
    if (!on) return wrong("neither yes nor no");
    options.shadow = *on;
  } else if (name == "max_connections") {
    const auto number = parse_number<std::size_t>(value);
    if (!number) return wrong("not a number");
    options.max_connections = *number;
  } else if (name == "stream" || name == "parallel") {
    const auto on = config::parse_bool(value);
    if (!on) return wrong("neither yes nor no");
    (name == "stream" ? options.stream : options.parallel) = *on;
  } else if (name == "breaker") {
    const auto rule = parse_breaker(value);
    if (!rule) return wrong("not FAILURES, FAILURES/TIME or FAILURES/TIME/GRACE");
    options.breaker = *rule;
  } else if (name == "default_action") {
    auto verdict = default_action_verdict(value);
    if (!verdict) return wrong("none of accept, reject, tempfail, quarantine, shutdown");
    options.default_action = std::move(*verdict);
  } else if (name.starts_with("default_action_")) {
    for (std::size_t i = 0; i < kTraffics; ++i) {
      if (name.substr(15) != traffic_name(static_cast<Traffic>(i))) continue;
      options.class_actions[i] = default_action_verdict(value);
      return options.class_actions[i] ? Result<bool>(true) : wrong("none of accept, reject, tempfail, quarantine, shutdown");
    }
    return false;
  } else {
    return false;
  }
  return true;
}

std::optional<Verdict> default_action_verdict(std::string_view word) {
  if (iequals(word, "accept")) return Verdict();
  if (iequals(word, "reject")) return Verdict::reply(550, "5.5.0", "Service unavailable");
  if (iequals(word, "tempfail")) return Verdict::reply(451, "4.7.1", "Service unavailable - try again later");
  if (iequals(word, "shutdown")) return Verdict::reply(421, "4.7.1", "Service unavailable - try again later");
  if (!iequals(word, "quarantine")) return {};
  Verdict verdict;
  verdict.action = Action::quarantine;
  verdict.text = "milter triggers HOLD action";
  return verdict;
}

}  // namespace millrace::filter
