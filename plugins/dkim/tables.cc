// Tables of keys and signers: see tables.h.
#include "plugins/dkim/tables.h"

#include <algorithm>

#include "plugins/dkim/signature.h"
#include "plugins/dkim/tags.h"

namespace millrace::dkim {
namespace {

// Calls each(words, line number) for every line that says something, until it returns a problem.
template <typename Each>
std::string each_line(std::string_view text, Each each) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = trim_space(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    std::vector<std::string> words;
    while (!line.empty()) {
      const std::size_t stop = std::min(line.find_first_of(" \t"), line.size());
      words.emplace_back(line.substr(0, stop));
      line = trim_space(line.substr(stop));
    }
    if (const std::string problem = each(words); !problem.empty()) return "line " + std::to_string(number) + ": " + problem;
  }
  return {};
}

}  // namespace

std::variant<KeyTable, std::string> parse_key_table(std::string_view text) {
  KeyTable out;
  const std::string problem = each_line(text, [&](const std::vector<std::string>& words) -> std::string {
    if (words.size() != 2) return "expected \"NAME DOMAIN:SELECTOR:/PATH\"";
    const std::size_t first = words[1].find(':'), second = first == words[1].npos ? first : words[1].find(':', first + 1);
    if (second == words[1].npos) return "expected DOMAIN:SELECTOR:/PATH behind the name";
    KeyEntry entry{words[1].substr(0, first), words[1].substr(first + 1, second - first - 1), words[1].substr(second + 1)};
    if (entry.domain != "%" && !is_domain(entry.domain)) return "\"" + entry.domain + "\" is no domain";
    if (!is_domain(entry.selector)) return "\"" + entry.selector + "\" is no selector";
    // What follows may be a key itself: it must not be repeated in a log.
    if (entry.path.empty() || entry.path.front() != '/') return "the third part must be the path of a key file, from the root (keys in the table are not supported)";
    if (entry.path.find('%') != entry.path.npos) return "% in the path of a key is not supported: keys are read when the server starts";
    if (!out.emplace(words[0], std::move(entry)).second) return words[0] + " is there twice";
    return {};
  });
  if (!problem.empty()) return problem;
  return out;
}

std::variant<SigningTable, std::string> SigningTable::parse(std::string_view text, bool wildcards) {
  SigningTable out;
  out.wildcards_ = wildcards;
  const std::string problem = each_line(text, [&](const std::vector<std::string>& words) -> std::string {
    if (words.size() < 2 || words.size() > 3) return "expected \"PATTERN KEY-NAME [IDENTITY]\"";
    out.exact_.emplace(lower(words[0]), out.entries_.size());
    out.entries_.push_back({lower(words[0]), words[1], words.size() > 2 ? words[2] : ""});
    return {};
  });
  if (!problem.empty()) return problem;
  return out;
}

std::vector<const SigningEntry*> SigningTable::find(const Author& author) const {
  std::vector<const SigningEntry*> out;
  const std::string address = lower(author.address()), local = lower(author.local);
  if (wildcards_) {
    for (const SigningEntry& entry : entries_) {
      if (matches_wildcard(entry.pattern, address)) out.push_back(&entry);
    }
    return out;
  }
  const auto look = [&](const std::string& key) {
    const auto [from, to] = exact_.equal_range(key);
    for (auto at = from; at != to; ++at) out.push_back(&entries_[at->second]);
  };
  look(address);
  look(author.domain);
  for (const std::string& start : {local + "@", std::string()}) {
    for (std::size_t dot = author.domain.find('.'); dot != std::string::npos; dot = author.domain.find('.', dot + 1)) {
      look(start + author.domain.substr(dot));
    }
  }
  look(local + "@*");
  look("*");
  return out;
}

bool matches_wildcard(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = pattern.npos, kept = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      kept = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++kept;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace millrace::dkim
