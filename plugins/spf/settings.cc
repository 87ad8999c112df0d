// Keys: see settings.h.
#include "plugins/spf/settings.h"

#include <algorithm>
#include <charconv>

namespace millrace::spf {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(", \t"), text.size());
    if (end > 0) out.push_back(lower(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

bool set_word(std::string_view text, std::initializer_list<std::pair<const char*, int>> words, int& out) {
  for (const auto& [word, value] : words) {
    if (lower(text) == word) return out = value, true;
  }
  return false;
}
bool set_bool(std::string_view text, bool& out) {
  int value = 0;
  if (!set_word(text, {{"true", 1}, {"yes", 1}, {"1", 1}, {"false", 0}, {"no", 0}, {"0", 0}}, value)) return false;
  out = value != 0;
  return true;
}
bool set_number(std::string_view text, unsigned least, unsigned most, unsigned& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && out >= least && out <= most;
}
bool set_refuse(std::string_view text, bool helo, Refuse& out) {
  int value = 0;
  if (!set_word(text, {{"spf_not_pass", 5}, {"softfail", 4}, {"fail", 3}, {"null", 2}, {"false", 1}, {"no_check", 0}}, value)) return false;
  out = static_cast<Refuse>(value);
  return helo || out != Refuse::null_sender;
}
bool set_networks(std::string_view text, std::vector<Network>& out) {
  for (const std::string& one : split(text)) {
    const auto network = parse_network(one);
    if (!network) return false;
    out.push_back(*network);
  }
  return true;
}

// False: the value makes no sense.  nullopt: no such key.
std::optional<bool> set(Settings& s, const std::string& key, const std::string& value) {
  if (key == "debugLevel") {
    unsigned level = 0;
    if (value == "-1") return s.log_level = -1, true;
    if (!set_number(value, 0, 9, level)) return false;
    return s.log_level = static_cast<int>(level), true;
  }
  if (key == "TestOnly") {
    bool enforce = true;
    if (!set_bool(value, enforce)) return false;
    return s.test_only = !enforce, true;
  }
  if (key == "Mock") return set_bool(value, s.mock);
  if (key == "HELO_reject") return set_refuse(value, true, s.helo);
  if (key == "Mail_From_reject") return set_refuse(value, false, s.mail_from);
  if (key == "HELO_pass_restriction") return s.helo_pass = value, true;
  if (key == "Mail_From_pass_restriction") return s.mail_from_pass = value, true;
  if (key == "No_Mail") return set_bool(value, s.no_mail);
  if (key == "Reject_Not_Pass_Domains") return s.not_pass_domains = split(value), true;
  if (key == "PermError_reject") return set_bool(value, s.permerror_reject);
  if (key == "TempError_Defer") return set_bool(value, s.temperror_defer);
  if (key == "Prospective") return s.prospective = parse_address(value), s.prospective.has_value();
  if (key == "skip_addresses") return s.skip_addresses.clear(), set_networks(value, s.skip_addresses);
  if (key == "Whitelist") return set_networks(value, s.whitelist);
  if (key == "HELO_Whitelist") return s.helo_whitelist = split(value), true;
  if (key == "Domain_Whitelist") return s.domain_whitelist = split(value), true;
  if (key == "Domain_Whitelist_PTR") return s.ptr_whitelist = split(value), true;
  if (key == "SPF_Enhanced_Status_Codes") return set_bool(value, s.enhanced_codes);
  if (key == "Header_Type") {
    int type = 0;
    if (!set_word(value, {{"spf", 0}, {"ar", 1}, {"none", 2}}, type)) return false;
    return s.header = static_cast<HeaderType>(type), true;
  }
  if (key == "Engine") {
    int engine = 0;
    if (!set_word(value, {{"own", 0}, {"libspf2", 1}}, engine)) return false;
    s.engine = static_cast<Engine>(engine);
    return true;
  }
  if (key == "Hide_Receiver") return set_bool(value, s.hide_receiver);
  if (key == "Authserv_Id") return s.authserv_id = value == "HOSTNAME" ? "" : value, true;
  if (key == "Lookup_Time") return set_number(value, 1, 300, s.lookup_seconds);
  if (key == "Whitelist_Lookup_Time") return set_number(value, 1, 300, s.whitelist_seconds);
  if (key == "Void_Limit") return set_number(value, 0, 10, s.void_limit);
  if (key == "Per_User") {
    if (!lower(value).starts_with("text,")) return false;
    const std::size_t start = value.find_first_not_of(" \t", 5);
    if (start == value.npos) return false;
    s.per_user = value.substr(start);
    return true;
  }
  if (key == "Reason_Message") return s.reason = value, true;
  return {};
}

}  // namespace

const char* const kSchema = R"json({
  "HELO_reject": {"type": "string", "default": "Fail", "doc": "HELO results that are refused: Fail, Softfail, SPF_Not_Pass, Null (fail, for the null sender), False (none), No_Check"},
  "Mail_From_reject": {"type": "string", "default": "Fail", "doc": "MAIL FROM results that are refused: Fail, Softfail, SPF_Not_Pass, False (none), No_Check"},
  "PermError_reject": {"type": "string", "default": "False", "doc": "refuse what has a broken record"},
  "TempError_Defer": {"type": "string", "default": "False", "doc": "defer when DNS does not answer"},
  "No_Mail": {"type": "string", "default": "False", "doc": "refuse only where the record is v=spf1 -all"},
  "Reject_Not_Pass_Domains": {"type": "string", "doc": "domains for which SPF_Not_Pass holds"},
  "HELO_pass_restriction": {"type": "string", "doc": "access(5) action when HELO passes (policyd, check_plugin)"},
  "Mail_From_pass_restriction": {"type": "string", "doc": "access(5) action when MAIL FROM passes (policyd, check_plugin)"},
  "skip_addresses": {"type": "string", "default": "127.0.0.0/8, ::1", "doc": "clients that are not checked"},
  "Whitelist": {"type": "string", "doc": "trusted relays, by network"},
  "HELO_Whitelist": {"type": "string", "doc": "trusted relays, by HELO name that has their address"},
  "Domain_Whitelist": {"type": "string", "doc": "trusted relays: what these domains' SPF records pass"},
  "Domain_Whitelist_PTR": {"type": "string", "doc": "trusted relays, by verified client name under these domains"},
  "TestOnly": {"type": "string", "default": "1", "doc": "0: refuse nothing"},
  "Prospective": {"type": "string", "doc": "judge this client address in place of the real one, add no header"},
  "Header_Type": {"type": "string", "default": "SPF", "doc": "SPF (Received-SPF), AR (Authentication-Results), None"},
  "Hide_Receiver": {"type": "string", "default": "False", "doc": "keep the recipient's domain out of header and reply"},
  "Authserv_Id": {"type": "string", "default": "HOSTNAME", "doc": "name in Authentication-Results"},
  "SPF_Enhanced_Status_Codes": {"type": "string", "default": "Yes", "doc": "5.7.23, 5.7.24, 4.7.24 (RFC 7372)"},
  "Reason_Message": {"type": "string", "default": "Message {rejectdefer} due to: {spf}. Please see {url}", "doc": "text of a refusal"},
  "Lookup_Time": {"type": "integer", "default": "20", "doc": "seconds for each identity's check"},
  "Whitelist_Lookup_Time": {"type": "integer", "default": "10", "doc": "seconds for each of the lists that ask DNS"},
  "Void_Limit": {"type": "integer", "default": "2", "doc": "void lookups in a record"},
  "Per_User": {"type": "string", "doc": "text,FILE: settings by recipient, policyd-spf.peruser(5) (policyd, check_plugin)"},
  "Engine": {"type": "string", "default": "own", "doc": "who evaluates records: own, or libspf2 (for comparison: it is right less often, and does not tell which mechanism decided)"},
  "Mock": {"type": "string", "default": "False", "doc": "answer DUNNO to everything"},
  "debugLevel": {"type": "integer", "default": "1", "doc": "-1 nothing, 0 errors, 1 results, 2 each check"}})json";

std::variant<Settings, std::string> parse_settings(const std::map<std::string, std::string>& keys) {
  Settings out;
  (void)set(out, "skip_addresses", "127.0.0.0/8,::1");
  for (const auto& [key, value] : keys) {
    if (key == "defaultSeedOnly") return key + ": write TestOnly";
    const auto done = set(out, key, value);
    if (!done) return "unknown key \"" + key + "\"";
    if (!*done) return key + ": \"" + value + "\" makes no sense";
  }
  return out;
}

std::variant<PerUser, std::string> parse_per_user(std::string_view text, const Keys& keys) {
  // These hold for all (policyd-spf.peruser(5)).
  static constexpr std::string_view kCommon[] = {"Lookup_Time", "Header_Type", "Hide_Receiver", "Authserv_Id", "Prospective", "debugLevel", "Mock", "Per_User"};
  const auto trimmed = [](std::string_view one) {
    const std::size_t from = one.find_first_not_of(" \t\r"), to = one.find_last_not_of(" \t\r");
    return from == one.npos ? std::string_view() : one.substr(from, to - from + 1);
  };
  PerUser out;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view whole = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view line = trimmed(whole.substr(0, whole.find('#')));
    if (line.empty()) continue;
    const auto wrong = [&](const std::string& why) { return "line " + std::to_string(number) + ": " + why; };
    const std::size_t comma = line.find(',');
    if (comma == line.npos || comma == 0) return wrong("expected recipient,Key=value|Key=value");
    Keys mine = keys;
    for (std::string_view rest = line.substr(comma + 1); !rest.empty();) {
      const std::size_t bar = std::min(rest.find('|'), rest.size());
      const std::string_view pair = trimmed(rest.substr(0, bar));
      rest.remove_prefix(std::min(bar + 1, rest.size()));
      const std::size_t equal = pair.find('=');
      if (equal == pair.npos) return wrong("\"" + std::string(pair) + "\" is not Key=value");
      const std::string key(trimmed(pair.substr(0, equal)));
      if (std::find(std::begin(kCommon), std::end(kCommon), key) != std::end(kCommon)) return wrong(key + " holds for all recipients");
      mine[key] = std::string(trimmed(pair.substr(equal + 1)));
    }
    auto parsed = parse_settings(mine);
    if (const auto* const why = std::get_if<std::string>(&parsed)) return wrong(*why);
    out.emplace(lower(trimmed(line.substr(0, comma))), std::move(std::get<Settings>(parsed)));
  }
  return out;
}

}  // namespace millrace::spf
