// Judging: see policy.h.  Texts are policyd-spf's, which scripts and people at other ends know.
#include "plugins/spf/policy.h"

#include <algorithm>
#include <optional>

#include "plugins/spf/libspf2.h"

namespace millrace::spf {
namespace {

using Action = Judgement::Action;

constexpr std::size_t kMaxQuoted = 300;   // of what a client or domain said, in a reply or header

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

// One line, bounded; bytes above ASCII stay, they may be UTF-8.
std::string clean(std::string_view text) {
  std::string out(text.substr(0, kMaxQuoted));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out;
}
// In a header's comment, parentheses must pair (RFC 5322 section 3.2.2).
std::string comment(std::string_view text) {
  std::string out;
  for (const char c : clean(text)) {
    if (c == '(' || c == ')' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == address.npos ? std::string() : std::string(address.substr(at + 1));
}

// "Pass", "Softfail", "Permerror": as policyd-spf writes them.
std::string title(Result result) {
  std::string out = result_name(result);
  out[0] = static_cast<char>(out[0] - 32);
  return out;
}

std::string reason(const Outcome& outcome) {
  switch (outcome.result) {
    case Result::none: return "no SPF record";
    case Result::neutral: return "access neither permitted nor denied";
    case Result::pass: return "sender SPF authorized";
    case Result::softfail: return "domain owner discourages use of this host";
    case Result::temperror: return "SPF Temporary Error: " + outcome.problem;
    case Result::permerror: return "SPF Permanent Error: " + outcome.problem;
    case Result::fail: break;
  }
  return outcome.explanation.empty() ? "SPF fail - not authorized" : outcome.explanation;
}

class Judge {
 public:
  Judge(PatientResolver& resolver, const Settings& settings, const std::string& authserv_id, const Request& request)
      : resolver_(resolver), settings_(settings), authserv_id_(authserv_id), request_(request), helo_(request.helo) {
    const std::string domain = domain_of(request.recipient);
    receiver_ = settings.hide_receiver ? "<UNKNOWN>" : request.recipient.empty() ? "none" : domain.empty() ? request.recipient : domain;
  }

  Judgement run() {
    const auto client = settings_.prospective ? settings_.prospective : parse_address(request_.client_address);
    if (!client) return {};
    client_ = *client;
    client_text_ = settings_.prospective ? client_.to_text() : request_.client_address;
    if (const std::string why = skip_reason(); !why.empty()) return skipped(why);
    if (request_.sender.empty() && helo_.empty()) return {};
    if (helo_.empty()) helo_ = domain_of(request_.sender).empty() ? "unknown" : domain_of(request_.sender);

    std::optional<Judgement> helo, mail;
    if (settings_.helo != Refuse::no_check) {
      helo = checked("helo", settings_.helo, lower(request_.helo));
      if (ends(*helo)) return std::move(*helo);
    }
    const bool helo_passes = helo && helo->outcome.result == Result::pass && !settings_.helo_pass.empty();
    if (request_.sender.empty()) return !helo ? Judgement{} : helo_passes ? restriction(std::move(*helo), settings_.helo_pass) : std::move(*helo);
    if (settings_.mail_from != Refuse::no_check) mail = checked("mailfrom", settings_.mail_from, lower(domain_of(request_.sender)));
    if (mail && mail->outcome.result == Result::pass && !settings_.mail_from_pass.empty()) return restriction(std::move(*mail), settings_.mail_from_pass);
    if (helo_passes) return restriction(std::move(*helo), settings_.helo_pass);
    if (mail && ends(*mail)) return std::move(*mail);
    // What says something goes before what says nothing.
    const bool helo_says = helo && helo->outcome.result != Result::none;
    if (!mail && !helo) return {};
    Judgement out = !mail || (mail->outcome.result == Result::none && helo_says) ? std::move(*helo) : std::move(*mail);
    out.action = Action::prepend;
    return out;
  }

 private:
  static bool ends(const Judgement& one) { return one.action == Action::reject || one.action == Action::defer; }
  static Judgement restriction(Judgement one, const std::string& action) {
    one.action = Action::restriction;
    one.text = action;
    return one;
  }

  std::string skip_reason();
  Judgement skipped(const std::string& why);
  Judgement checked(const char* identity, Refuse refuse, const std::string& domain);
  Action action_for(const Outcome& outcome, Refuse refuse) const;
  std::string detail() const {
    return "client-ip=" + clean(client_text_) + "; helo=" + clean(helo_) + "; envelope-from=" +
           (request_.sender.empty() ? "<>" : clean(request_.sender)) + "; receiver=" + clean(receiver_);
  }
  std::string header(const char* identity, const Outcome& outcome, bool local) const;
  std::string refusal(const char* identity, Action action, const std::string& why) const;

  PatientResolver& resolver_;
  const Settings& settings_;
  const std::string& authserv_id_;
  const Request& request_;
  std::string helo_, receiver_, client_text_;
  Address client_;
};

bool holds(const std::vector<Network>& networks, const Address& client) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& one) { return client.matches(one.base, one.length); });
}
bool is_in(const std::vector<std::string>& list, const std::string& name) { return std::find(list.begin(), list.end(), name) != list.end(); }

std::string Judge::skip_reason() {
  if (holds(settings_.skip_addresses, client_)) return "SPF check N/A for local connections - ";
  if (holds(settings_.whitelist, client_)) return "SPF skipped for whitelisted relay - ";
  if (!settings_.domain_whitelist.empty()) {
    resolver_.begin(settings_.whitelist_seconds);
    for (const std::string& domain : settings_.domain_whitelist) {
      Query query;
      query.client = client_;
      query.sender = "postmaster@" + domain;
      query.helo = domain;
      query.void_limit = settings_.void_limit;
      if (check(resolver_, query).result == Result::pass) return "SPF skipped for whitelisted relay domain - ";
    }
  }
  if (is_in(settings_.helo_whitelist, lower(request_.helo))) {
    resolver_.begin(settings_.whitelist_seconds);
    const Answer answer = resolver_.query(lower(request_.helo), client_.is_v6 ? RecordType::aaaa : RecordType::a);
    for (const std::string& text : answer.values) {
      if (parse_address(text) == client_) return "SPF skipped for whitelisted HELO domain - ";
    }
  }
  if (!settings_.ptr_whitelist.empty()) {
    resolver_.begin(settings_.whitelist_seconds);
    for (const std::string& name : validated_names(resolver_, client_)) {
      for (const std::string& domain : settings_.ptr_whitelist) {
        if (name == domain || name.ends_with("." + domain)) return "SPF skipped for PTR whitelisted relay domain - ";
      }
    }
  }
  return {};
}

Judgement Judge::skipped(const std::string& why) {
  Judgement out;
  out.action = Action::prepend;
  out.why = why.substr(0, why.size() - 3);
  if (settings_.header == HeaderType::auth_results) {
    out.header = "Authentication-Results: " + authserv_id_ + "; none (" + comment(why + " " + detail()) + ")";
  } else {
    std::string sender = request_.sender;
    out.header = "X-Comment: " + why + "client-ip=" + clean(client_text_) + "; helo=" + clean(request_.helo) + "; envelope-from=" +
                 clean(sender) + "; receiver=" + clean(receiver_) + " ";
  }
  if (settings_.prospective || settings_.header == HeaderType::none) out.header.clear();
  return out;
}

Action Judge::action_for(const Outcome& outcome, Refuse refuse) const {
  if (refuse == Refuse::never) return Action::prepend;
  if (refuse == Refuse::null_sender && !request_.sender.empty()) return Action::none;
  switch (outcome.result) {
    case Result::fail: return Action::reject;
    case Result::softfail: return refuse == Refuse::softfail || refuse == Refuse::not_pass ? Action::reject : Action::prepend;
    case Result::neutral: return refuse == Refuse::not_pass ? Action::reject : Action::prepend;
    case Result::permerror: return settings_.permerror_reject ? Action::reject : Action::prepend;
    case Result::temperror: return settings_.temperror_defer ? Action::defer : Action::prepend;
    default: return Action::prepend;
  }
}

Judgement Judge::checked(const char* identity, Refuse refuse, const std::string& domain) {
  const bool is_helo = identity[0] == 'h';
  resolver_.begin(settings_.lookup_seconds);
  Query query;
  query.client = client_;
  query.sender = is_helo ? "postmaster@" + helo_ : request_.sender;
  query.helo = helo_;
  query.receiver = authserv_id_.empty() ? "unknown" : authserv_id_;
  query.void_limit = settings_.void_limit;
  Judgement out;
  out.identity = identity;
  out.outcome = settings_.engine == Engine::libspf2 ? check_with_libspf2(resolver_, query) : check(resolver_, query);
  const bool local = std::any_of(settings_.not_pass_domains.begin(), settings_.not_pass_domains.end(), [&](const std::string& one) {
    return domain == one || domain.ends_with("." + one);
  });
  out.action = action_for(out.outcome, local ? Refuse::not_pass : refuse);
  if (out.action == Action::reject && settings_.no_mail && out.outcome.record != "v=spf1 -all") out.action = Action::prepend;
  if (ends(out)) {
    out.is_error = out.outcome.result == Result::permerror || out.outcome.result == Result::temperror;
    out.text = refusal(identity, out.action, local ? "Receiver policy for SPF " + title(out.outcome.result) : reason(out.outcome));
  }
  if (!settings_.prospective && settings_.header != HeaderType::none) out.header = header(identity, out.outcome, local);
  return out;
}

// policyd-spf ends its line with a space; what compares headers byte by byte would see one go.
std::string Judge::header(const char* identity, const Outcome& outcome, bool local) const {
  const bool is_helo = identity[0] == 'h';
  const std::string why = local && outcome.result != Result::none ? "Receiver policy for SPF " + title(outcome.result) : reason(outcome);
  if (settings_.header == HeaderType::auth_results) {
    const std::string domain = domain_of(request_.sender).empty() ? "example.com" : domain_of(request_.sender);
    return "Authentication-Results: " + authserv_id_ + "; spf=" + result_name(outcome.result) + " (" + comment(why) + ") smtp." +
           (is_helo ? "helo=" + clean(helo_) : "mailfrom=" + clean(domain)) + " (" + comment(detail()) + ")";
  }
  return "Received-SPF: " + title(outcome.result) + " (" + (is_helo ? comment(why) : identity) + ") identity=" + identity + "; " + detail() + " ";
}

std::string Judge::refusal(const char* identity, Action action, const std::string& why) const {
  const bool is_helo = identity[0] == 'h';
  const std::pair<std::string_view, std::string> words[] = {
      {"{rejectdefer}", action == Action::reject ? "rejected" : "deferred"},
      {"{spf}", clean(why)},
      {"{url}", std::string("http://www.openspf.net/Why?s=") + (is_helo ? "helo" : "mfrom") + ";id=" + clean(is_helo ? helo_ : request_.sender) +
                    ";ip=" + clean(client_text_) + ";r=" + clean(receiver_)}};
  std::string out;
  for (std::string_view rest = settings_.reason; !rest.empty();) {
    const auto word = std::find_if(std::begin(words), std::end(words), [&](const auto& one) { return rest.starts_with(one.first); });
    if (word != std::end(words)) {
      out += word->second;
      rest.remove_prefix(word->first.size());
    } else {
      out += rest.front();
      rest.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace

Judgement judge(PatientResolver& resolver, const Settings& settings, const std::string& authserv_id, const Request& request) {
  if (settings.mock) return {};
  auto out = Judge(resolver, settings, settings.authserv_id.empty() ? authserv_id : settings.authserv_id, request).run();
  if (settings.test_only && out.action != Action::prepend) out.action = Action::none;
  return out;
}

std::string to_action(const Judgement& judgement, const Settings& settings) {
  switch (judgement.action) {
    case Action::prepend: return judgement.header.empty() ? "DUNNO" : "PREPEND " + judgement.header;
    case Action::restriction: return judgement.text;
    case Action::reject: {
      const char* const code = !settings.enhanced_codes ? "550 " : judgement.is_error ? "550 5.7.24 " : "550 5.7.23 ";
      return code + judgement.text;
    }
    case Action::defer: return (settings.enhanced_codes ? "defer_if_permit 4.7.24 " : "defer_if_permit ") + judgement.text;
    case Action::none: break;
  }
  return "DUNNO";
}

}  // namespace millrace::spf
