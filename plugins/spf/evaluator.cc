// check_host(): see evaluator.h.  Section numbers are RFC 7208's.
#include "plugins/spf/evaluator.h"

#include <algorithm>
#include <optional>

#include "plugins/spf/record.h"

namespace millrace::spf {
namespace {

constexpr unsigned kTermLimit = 10;     // 4.6.4
constexpr std::size_t kHostLimit = 10;
constexpr std::size_t kNameLimit = 253;
constexpr std::size_t kRecordLimit = 64 * 1024;   // TXT data cannot be longer

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

// Labels of 1 to 63 octets, 253 in all; one final dot is allowed.
bool is_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kNameLimit) return false;
  std::size_t label = 0;
  for (const char c : name) {
    if (c == '\0') return false;
    if (c == '.' ? label == 0 || label > 63 : false) return false;
    label = c == '.' ? 0 : label + 1;
  }
  return label > 0 && label <= 63;
}

// 4.3: more than one label, no address literal.
bool is_domain(std::string_view name) {
  std::string_view inner = name;
  if (inner.ends_with('.')) inner.remove_suffix(1);
  return is_name(name) && inner.find('.') != inner.npos && inner.front() != '[';
}

bool is_under(std::string_view name, std::string_view domain) {
  return name == domain || (name.size() > domain.size() && name.ends_with(domain) && name[name.size() - domain.size() - 1] == '.');
}

std::string without_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return std::string(name);
}

// What ends an evaluation before its time.
struct Stop {
  Result result;
  std::string problem;
};

class Evaluation {
 public:
  Evaluation(Resolver& resolver, const Query& query) : resolver_(resolver), query_(query) {
    sender_ = query.sender.empty() ? "postmaster@" + query.helo : query.sender;
    const std::size_t at = sender_.rfind('@');
    if (at == std::string::npos) sender_ = "postmaster@" + sender_;
    else if (at == 0) sender_.insert(0, "postmaster");
    local_ = sender_.substr(0, sender_.rfind('@'));
    sender_domain_ = sender_.substr(sender_.rfind('@') + 1);
  }

  Outcome run() {
    Outcome out;
    out.domain = sender_domain_;
    try {
      out.result = check_host(sender_domain_, Explain::yes, out, &out.record);
    } catch (Stop& stop) {   // thrown and caught in here: nothing waits in the handler
      out.result = stop.result;
      out.problem = std::move(stop.problem);
    }
    if (out.result == Result::fail) out.explanation = explanation();
    return out;
  }

 private:
  enum class Explain { yes, no };

  Result check_host(const std::string& domain, Explain explain, Outcome& out, std::string* kept);
  std::string find_record(const std::string& domain);
  bool matches(const Directive& directive, const std::string& domain, Outcome& out);
  bool address_matches(const std::string& name, const Directive& directive, bool counts);
  bool mx_matches(const std::string& name, const Directive& directive);
  bool include_matches(const std::string& name, Outcome& out);

  void count_term() {
    if (++terms_ > kTermLimit) throw Stop{Result::permerror, "too many DNS lookups"};
  }
  void count_void(const Answer& answer) {
    if (answer.status == Answer::Status::nothing && ++voids_ > query_.void_limit) {
      throw Stop{Result::permerror, "too many void DNS lookups"};
    }
  }
  Answer ask(const std::string& name, RecordType type) {
    if (!is_name(name)) return {Answer::Status::nothing, {}};
    return resolver_.query(without_dot(name), type);
  }
  RecordType address_type() const { return query_.client.is_v6 ? RecordType::aaaa : RecordType::a; }
  bool has_client(const std::vector<std::string>& addresses, const Directive& directive) const {
    const unsigned length = query_.client.is_v6 ? directive.length6 : directive.length4;
    return std::any_of(addresses.begin(), addresses.end(), [&](const std::string& text) {
      const auto address = query_.client.is_v6 ? parse_ip6(text) : parse_ip4(text);
      return address && query_.client.matches(*address, length);
    });
  }

  const std::vector<std::string>& names() {
    if (!names_) names_ = validated_names(resolver_, query_.client);
    return *names_;
  }
  std::string macro_value(const Macro& macro, const std::string& domain);
  std::string expand(const MacroString& parts, const std::string& domain);
  std::string expand_name(const std::optional<MacroString>& parts, const std::string& domain);
  std::string explanation();

  Resolver& resolver_;
  const Query& query_;
  std::string sender_, local_, sender_domain_;
  unsigned terms_ = 0, voids_ = 0;
  std::optional<std::vector<std::string>> names_;
  std::optional<MacroString> explain_;   // of the record that failed
  std::string explain_domain_;
};

std::string Evaluation::find_record(const std::string& domain) {
  const Answer answer = ask(domain, RecordType::txt);
  if (answer.status == Answer::Status::error) throw Stop{Result::temperror, "DNS lookup of " + domain + " failed"};
  const std::string* found = nullptr;
  for (const std::string& text : answer.values) {
    if (text.size() > kRecordLimit || !is_spf_record(text)) continue;
    if (found != nullptr) throw Stop{Result::permerror, "two or more SPF records at " + domain};   // 4.5
    found = &text;
  }
  return found == nullptr ? std::string() : *found;
}

Result Evaluation::check_host(const std::string& given, Explain explain, Outcome& out, std::string* kept) {
  if (!is_domain(given)) return Result::none;
  const std::string domain = without_dot(given);
  const std::string text = find_record(domain);
  if (kept != nullptr) *kept = text;
  if (text.empty()) return Result::none;
  auto parsed = parse_record(text);
  if (auto* const wrong = std::get_if<std::string>(&parsed)) {
    throw Stop{Result::permerror, "\"" + *wrong + "\" in the record of " + domain};
  }
  const Record& record = std::get<Record>(parsed);
  for (const Directive& directive : record.directives) {
    if (!matches(directive, domain, out)) continue;
    if (explain == Explain::yes) out.mechanism = directive.text;
    switch (directive.qualifier) {
      case Qualifier::pass: return Result::pass;
      case Qualifier::softfail: return Result::softfail;
      case Qualifier::neutral: return Result::neutral;
      case Qualifier::fail: break;
    }
    if (explain == Explain::yes) {
      explain_ = record.explanation;
      explain_domain_ = domain;
    }
    return Result::fail;
  }
  if (!record.redirect) return Result::neutral;   // 4.7
  count_term();
  const std::string target = expand_name(record.redirect, domain);
  const Result result = check_host(target, explain, out, nullptr);
  if (result == Result::none) throw Stop{Result::permerror, "redirect to " + target + ", which has no SPF record"};   // 6.1
  return result;
}

bool Evaluation::matches(const Directive& directive, const std::string& domain, Outcome& out) {
  switch (directive.mechanism) {
    case Mechanism::all: return true;
    case Mechanism::ip4:
    case Mechanism::ip6: return query_.client.matches(directive.network.base, directive.network.length);
    default: break;
  }
  count_term();
  const std::string name = expand_name(directive.domain, domain);
  switch (directive.mechanism) {
    case Mechanism::include: return include_matches(name, out);
    case Mechanism::a: return address_matches(name, directive, true);
    case Mechanism::mx: return mx_matches(name, directive);
    case Mechanism::ptr: {
      const std::string target = lower(without_dot(name));
      const auto& known = names();
      return std::any_of(known.begin(), known.end(), [&](const std::string& one) { return is_under(one, target); });
    }
    default: break;
  }
  const Answer answer = ask(name, RecordType::a);   // exists: A whatever the client's family (5.7)
  if (answer.status == Answer::Status::error) throw Stop{Result::temperror, "DNS lookup of " + name + " failed"};
  count_void(answer);
  return answer.status == Answer::Status::ok;
}

bool Evaluation::include_matches(const std::string& name, Outcome& out) {
  const Result result = check_host(name, Explain::no, out, nullptr);
  if (result == Result::none) throw Stop{Result::permerror, "include of " + name + ", which has no SPF record"};   // 5.2
  return result == Result::pass;
}

bool Evaluation::address_matches(const std::string& name, const Directive& directive, bool counts) {
  const Answer answer = ask(name, address_type());
  if (answer.status == Answer::Status::error) throw Stop{Result::temperror, "DNS lookup of " + name + " failed"};
  if (counts) count_void(answer);
  return has_client(answer.values, directive);
}

bool Evaluation::mx_matches(const std::string& name, const Directive& directive) {
  const Answer answer = ask(name, RecordType::mx);
  if (answer.status == Answer::Status::error) throw Stop{Result::temperror, "DNS lookup of " + name + " failed"};
  count_void(answer);
  if (answer.values.size() > kHostLimit) throw Stop{Result::permerror, "too many MX hosts at " + name};   // 4.6.4
  return std::any_of(answer.values.begin(), answer.values.end(),
                     [&](const std::string& host) { return address_matches(host, directive, false); });
}

// --- macros, section 7 --------------------------------------------------------------------------

std::string Evaluation::macro_value(const Macro& macro, const std::string& domain) {
  switch (macro.letter) {
    case 's': return sender_;
    case 'l': return local_;
    case 'o': return sender_domain_;
    case 'd': return domain;
    case 'i': return query_.client.dotted();
    case 'v': return query_.client.is_v6 ? "ip6" : "in-addr";
    case 'h': return query_.helo;
    case 'c': return query_.client.to_text();
    case 'r': return query_.receiver;
    case 't': return std::to_string(query_.now);
    default: break;
  }
  // p: the domain itself, else a name below it, else any (7.3).
  const std::string wanted = lower(domain);
  const auto& known = names();
  if (std::find(known.begin(), known.end(), wanted) != known.end()) return wanted;
  const auto below = std::find_if(known.begin(), known.end(), [&](const std::string& one) { return is_under(one, wanted); });
  return below != known.end() ? *below : known.empty() ? "unknown" : known.front();
}

std::string Evaluation::expand(const MacroString& parts, const std::string& domain) {
  std::string out;
  for (const Macro& macro : parts) {
    out += macro.literal;
    if (macro.letter == '\0') continue;
    const std::string value = macro_value(macro, domain);
    std::vector<std::string_view> pieces;
    for (std::size_t start = 0;;) {
      const std::size_t end = value.find_first_of(macro.delimiters, start);
      pieces.push_back(std::string_view(value).substr(start, end == std::string::npos ? end : end - start));
      if (end == std::string::npos) break;
      start = end + 1;
    }
    if (macro.reverse) std::reverse(pieces.begin(), pieces.end());
    if (macro.keep > 0 && macro.keep < pieces.size()) pieces.erase(pieces.begin(), pieces.end() - static_cast<long>(macro.keep));
    std::string joined;
    for (std::size_t i = 0; i < pieces.size(); ++i) joined.append(i == 0 ? "" : ".").append(pieces[i]);
    if (!macro.url_escape) {
      out += joined;
      continue;
    }
    for (const char c : joined) {
      const bool plain = (to_lower(c) >= 'a' && to_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
      if (plain) {
        out += c;
      } else {
        static constexpr char kHex[] = "0123456789ABCDEF";
        ((out += '%') += kHex[static_cast<unsigned char>(c) >> 4]) += kHex[static_cast<unsigned char>(c) & 15];
      }
    }
  }
  return out;
}

std::string Evaluation::expand_name(const std::optional<MacroString>& parts, const std::string& domain) {
  if (!parts) return domain;
  std::string name = expand(*parts, domain);
  while (without_dot(name).size() > kNameLimit) {   // 7.3: labels go from the left
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos) break;
    name.erase(0, dot + 1);
  }
  return name;
}

// 6.2: whatever is wrong with it, there is no explanation then.
std::string Evaluation::explanation() {
  if (!explain_) return {};
  const Answer answer = ask(expand_name(explain_, explain_domain_), RecordType::txt);
  if (answer.status != Answer::Status::ok || answer.values.size() != 1 || answer.values[0].size() > kRecordLimit) return {};
  const auto parts = parse_macro_string(answer.values[0], MacroUse::explanation);
  if (!parts) return {};
  std::string text = expand(*parts, explain_domain_);
  for (char& c : text) {   // macros bring what a client said
    if (c < 0x20 || c > 0x7E) c = '?';
  }
  return text;
}

}  // namespace

const char* result_name(Result result) {
  static constexpr const char* kNames[] = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"};
  return kNames[static_cast<std::size_t>(result)];
}

std::vector<std::string> validated_names(Resolver& resolver, const Address& client) {
  std::vector<std::string> out;
  const Answer pointers = resolver.query(client.reverse_name(), RecordType::ptr);
  for (std::size_t i = 0; i < std::min(pointers.values.size(), kHostLimit); ++i) {   // 5.5
    const std::string name = lower(without_dot(pointers.values[i]));
    if (!is_name(name)) continue;
    const Answer answer = resolver.query(name, client.is_v6 ? RecordType::aaaa : RecordType::a);
    for (const std::string& text : answer.values) {
      if (parse_address(text) == client) {
        out.push_back(name);
        break;
      }
    }
  }
  return out;
}

Outcome check(Resolver& resolver, const Query& query) { return Evaluation(resolver, query).run(); }

}  // namespace millrace::spf
