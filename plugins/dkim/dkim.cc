// DKIM as a plugin: plugin:dkim/verify judges signatures, plugin:dkim/sign makes them.  Two filters, because the one
// wants to be asked before what reads its results and the other after everything that edits.
//
// The engines are pure; here is what they get from the host and what their findings mean in the ABI.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>

#include "millrace/plugin.hpp"
#include "plugins/dkim/engine.h"
#include "plugins/dkim/keys.h"
#include "plugins/dkim/settings.h"
#include "plugins/dkim/tags.h"

namespace {

namespace sdk = millrace::sdk;
using namespace millrace::dkim;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kReserve = kSecond / 2;         // of the call's time, kept for the answer
constexpr std::uint64_t kLargeBody = 64 * 1024;         // from here on a worker does it
constexpr std::size_t kManySignatures = 3;
constexpr std::size_t kMaxOutcome = 300;

std::uint64_t unix_time() { return static_cast<std::uint64_t>(std::time(nullptr)); }

// The header section as it came; where the host cannot give it, as it must have looked.
std::string header_text(sdk::Call& call) {
  const mr_msg_1* const table = call.host().message();
  mr_string whole{nullptr, 0};
  if (MR_HAS(mr_msg_1, table, header_text) && table->header_text(call.host().ctx(), call.raw().message, &whole) == MR_OK) {
    return std::string(sdk::view(whole));
  }
  std::string out;
  for (const auto& [name, value] : call.headers()) {
    out += name + ": ";
    for (const char c : value) c == '\n' ? out += "\r\n" : out += c;
    out += "\r\n";
  }
  return out;
}

std::uint64_t body_size(sdk::Call& call) {
  std::uint64_t octets = 0;
  const mr_msg_1* const table = call.host().message();
  if (!MR_HAS(mr_msg_1, table, body_size) || table->body_size(call.host().ctx(), call.raw().message, &octets) != MR_OK) return 0;
  return octets;
}

void read_body(sdk::Call& call, Mail& mail) {
  mail.body = [&call](const std::function<void(std::string_view)>& each) {
    for (std::uint64_t offset = 0;;) {
      const auto piece = call.body(offset);
      if (!piece) return false;
      if (piece->empty()) return true;
      each(*piece);
      offset += piece->size();
    }
  };
}

// On a worker thread when it may take long.
template <typename Work>
bool run(sdk::Call& call, bool is_long, Work work) {
  bool done = false;
  const auto whole = [&] {
    work();
    done = true;
  };
  const mr_worker_1* const worker = call.host().worker();
  if (!is_long || !MR_HAS(mr_worker_1, worker, run)) whole();
  else (void)call.offload(whole);
  return done;
}

std::string ascii(std::string_view text) {
  std::string out(text.substr(0, kMaxOutcome));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

class Verify final : public sdk::Filter {
 public:
  static sdk::Description describe() {
    static const char* const kNeeds[] = {"mr.dns/1", "mr.msg/1", nullptr};
    sdk::Description d{"verify", "0.1.0", "DKIM signatures (RFC 6376, RFC 8463): Authentication-Results, and what to do by result"};
    d.stages = MR_STAGE_MESSAGE;
    d.edits = MR_EDIT_HEADERS;
    d.reads_body = true;
    d.config_schema = kVerifySchema;
    d.required_interfaces = kNeeds;
    return d;
  }

  bool configure(const sdk::Settings& keys) override {
    auto parsed = parse_verify_settings(keys);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return host().error(*wrong), false;
    settings_ = std::move(std::get<VerifySettings>(parsed));
    engine_ = settings_.use_opendkim ? make_opendkim_engine({}) : make_openssl_engine({});
    if (!engine_) return host().error("libopendkim does not start"), false;
    return true;
  }

  Verdict message(Call& call) override {
    const std::string header = header_text(call);
    Mail mail = split_header(header);
    read_body(call, mail);
    std::size_t left = 0;
    const std::vector<Signature> signatures = find_signatures(mail, unix_time(), settings_.max_signatures, left);
    if (signatures.empty()) {
      (void)call.auth_result("dkim", "none", "", {});
      host().count("none");
      return act(Result::none, "message not signed");
    }
    const Keys keys = fetch(call, signatures);
    std::vector<Finding> findings;
    const bool is_long = signatures.size() >= kManySignatures || body_size(call) > kLargeBody;
    if (!run(call, is_long, [&] { findings = engine_->verify(mail, signatures, keys); })) return Verdict::failure();
    apply_policy(settings_, signatures, findings);
    for (std::size_t i = 0; i < findings.size(); ++i) tell(call, signatures[i], findings[i]);
    if (left > 0) host().warning(call.queue_id() + ": " + std::to_string(left) + " more signatures, not looked at (max_signatures)");
    const std::size_t which = decisive(findings);
    if (which == SIZE_MAX) return act(Result::none, "the key is for testing");
    Verdict verdict = act(findings[which].result, findings[which].reason);
    verdict.fact("domain", ascii(signatures[which].domain)).fact("selector", ascii(signatures[which].selector));
    return verdict;
  }

 private:
  // Every key once, before anything is computed; other sessions go on meanwhile.
  Keys fetch(Call& call, const std::vector<Signature>& signatures) const {
    const std::uint64_t all = call.raw().deadline_ns, own = host().now_ns() + settings_.lookup_seconds * kSecond;
    const std::uint64_t until = std::min(own, all > kReserve ? all - kReserve : 0);
    Keys out;
    for (const Signature& one : signatures) {
      if (one.problem != Result::none) continue;
      const auto [place, is_new] = out.emplace(lower(one.key_name()), KeyAnswer());
      if (!is_new || host().now_ns() >= until) continue;
      const sdk::DnsAnswer answer = call.dns(place->first, MR_DNS_TXT, until);
      if (answer.status == MR_DNS_TEMPORARY) continue;
      place->second.status = KeyAnswer::Status::none;
      if (answer.status != MR_DNS_OK || answer.records.empty()) continue;
      place->second.status = KeyAnswer::Status::found;
      place->second.text = answer.records[0].value;
      for (const sdk::DnsRecord& record : answer.records) {   // beside others, the one that is a key
        const auto tags = parse_tags(record.value, true);
        if (!tags || find_tag(*tags, "p") == nullptr) continue;
        place->second.text = record.value;
        break;
      }
    }
    return out;
  }

  void tell(Call& call, const Signature& signature, const Finding& finding) const {
    sdk::Attributes properties;
    if (!signature.domain.empty()) properties.emplace_back("header.d", ascii(signature.domain));
    if (signature.identity.size() > 1) properties.emplace_back("header.i", ascii(signature.identity));
    if (!signature.selector.empty()) properties.emplace_back("header.s", ascii(signature.selector));
    if (signature.problem == Result::none) properties.emplace_back("header.a", algorithm_name(signature.algorithm));
    if (!signature.b_start.empty()) properties.emplace_back("header.b", ascii(signature.b_start));
    std::string reason = ascii(finding.reason);
    if (finding.is_testing) reason += reason.empty() ? "key for testing" : " (key for testing)";
    (void)call.auth_result("dkim", result_name(finding.result), reason, properties);
    host().count(result_name(finding.result));
    if (!settings_.log_results) return;
    std::string line = call.queue_id() + ": dkim=" + result_name(finding.result) + "; d=" + ascii(signature.domain) + "; s=" + ascii(signature.selector);
    if (finding.bits > 0) line += "; key=" + std::to_string(finding.bits);
    if (!reason.empty()) line += "; " + reason;
    host().info(line);
  }

  // RFC 7372 has the codes; 4.7.5 is RFC 6376 section 6.3's.
  Verdict act(Result result, const std::string& reason) const {
    const Action action = settings_.actions[static_cast<std::size_t>(result)];
    const char* const enhanced = result == Result::policy || result == Result::pass ? "7.21" : result == Result::temperror ? "7.5" : "7.20";
    std::string text = result == Result::policy || result == Result::pass ? "No acceptable DKIM signature found"
                       : result == Result::temperror                      ? "Unable to verify DKIM signature"
                                                                          : "No passing DKIM signature found";
    if (!reason.empty()) text += ": " + ascii(reason);
    Verdict verdict;
    switch (action) {
      case Action::accept: break;
      case Action::reject: verdict = Verdict::reject(text, 550, std::string("5.") + enhanced); break;
      case Action::tempfail: verdict = Verdict::tempfail(text, 451, std::string("4.") + enhanced); break;
      case Action::quarantine: verdict = Verdict::quarantine(text); break;
      case Action::discard: verdict = Verdict::discard(); break;
    }
    return verdict.reason(std::string("dkim-") + result_name(result)).fact("result", result_name(result));
  }

  VerifySettings settings_;
  std::unique_ptr<Engine> engine_;
};

class Sign final : public sdk::Filter {
 public:
  static sdk::Description describe() {
    static const char* const kNeeds[] = {"mr.msg/1", "mr.session/1", nullptr};
    static const char* const kAfter[] = {"milter:", "plugin:", "lua:", nullptr};   // whatever else is there edits before
    sdk::Description d{"sign", "0.1.0", "signs mail of our own users (DKIM, RFC 6376 and RFC 8463)"};
    d.stages = MR_STAGE_MESSAGE;
    d.edits = MR_EDIT_HEADERS;
    d.reads_body = true;
    d.config_schema = kSignSchema;
    d.required_interfaces = kNeeds;
    d.after = kAfter;
    return d;
  }

  bool configure(const sdk::Settings& keys) override {
    auto parsed = parse_sign_settings(keys);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return host().error(*wrong), false;
    settings_ = std::move(std::get<SignSettings>(parsed));
    auto ring = KeyRing::load(settings_, [this](const std::string& path, bool is_private, std::string& problem) { return read(path, is_private, problem); });
    if (const auto* const wrong = std::get_if<std::string>(&ring)) return host().error(*wrong), false;
    keys_ = std::move(std::get<KeyRing>(ring));
    if (keys_.empty()) host().warning("signs nothing: neither key_table and signing_table nor domain, selector and key_file are set");
    engine_ = settings_.use_opendkim ? make_opendkim_engine(settings_.policy) : make_openssl_engine(settings_.policy);
    if (!engine_) return host().error("libopendkim does not start"), false;
    return true;
  }

  Verdict message(Call& call) override {
    if (keys_.empty() || !is_ours(call)) return {};
    const std::string header = header_text(call);
    Mail mail = split_header(header);
    const auto from = std::find(mail.names.begin(), mail.names.end(), "from");
    if (from == mail.names.end()) return {};
    const std::string_view field = mail.fields[static_cast<std::size_t>(from - mail.names.begin())];
    const auto author = parse_author(field.substr(field.find(':') + 1));
    if (!author) return {};
    const std::vector<Signer> signers = keys_.find(*author);
    read_body(call, mail);
    std::vector<std::string> values;
    std::string problem;
    const bool done = signers.empty() || run(call, true, [&] {
      for (const Signer& signer : signers) {
        values.push_back(engine_->sign(mail, {signer.key, signer.domain, signer.selector, signer.identity, unix_time()}, problem));
        if (!problem.empty()) return;
      }
    });
    if (!done || !problem.empty()) {
      host().error(call.queue_id() + ": not signed: " + (problem.empty() ? "no time" : problem));
      return Verdict::failure();
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!call.prepend_header("DKIM-Signature", values[i])) return Verdict::failure();
      host().count("signed");
      host().info(call.queue_id() + ": DKIM-Signature field added (s=" + signers[i].selector + ", d=" + signers[i].domain + ")");
    }
    Verdict verdict;
    if (!values.empty()) verdict.fact("signed", signers[0].selector + "._domainkey." + signers[0].domain);
    return verdict.reason("dkim-sign");
  }

 private:
  bool is_ours(Call& call) const {
    if (settings_.sign_authenticated && !call.fact("sasl_username").empty()) return true;
    const std::string client = call.fact("client_address");
    return address_bytes(client).empty() || is_in(settings_.internal, client);   // what did not come by TCP is local
  }

  // What the host read while it still could; else with the rights there are now.
  std::string read(const std::string& path, bool is_private, std::string& problem) const {
    const auto* const table = host().interface<mr_private_files_1>("mr.private_files/1");
    mr_string text{nullptr, 0};
    if (is_private && MR_HAS(mr_private_files_1, table, read) && table->read(host().ctx(), sdk::text_of(path), &text) == MR_OK) {
      return std::string(sdk::view(text));
    }
    std::string out = read_file(path, is_private, problem);
    if (!problem.empty() && is_private) problem += " (keys that only root may read: name them in plugin_private_files)";
    return out;
  }

  SignSettings settings_;
  KeyRing keys_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace

MILLRACE_PLUGIN(Verify, Sign)
