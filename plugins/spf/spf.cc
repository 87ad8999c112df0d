// SPF as a plugin: the filter plugin:spf (judges at MAIL FROM) and the restriction check_plugin spf, which is what
// `millrace policyd` asks.  The judging is policy.h's; here is what it means in the ABI.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <list>
#include <mutex>
#include <unordered_map>

#include "millrace/plugin.hpp"
#include "plugins/spf/policy.h"

namespace {

namespace sdk = millrace::sdk;
using namespace millrace::spf;
using Action = Judgement::Action;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kReserve = kSecond / 4;   // of the call's time, kept for the answer

// DNS through the host; past its time everything is an error, so that the policy for those answers.
class HostResolver final : public PatientResolver {
 public:
  explicit HostResolver(sdk::Call& call) : call_(call) {}
  void begin(unsigned seconds) override {
    const std::uint64_t all = call_.raw().deadline_ns, own = call_.host().now_ns() + seconds * kSecond;
    until_ = std::min(own, all > kReserve ? all - kReserve : 0);
  }
  Answer query(const std::string& name, RecordType type) override {
    static constexpr std::uint32_t kTypes[] = {MR_DNS_A, MR_DNS_AAAA, MR_DNS_MX, MR_DNS_PTR, MR_DNS_TXT};
    Answer out;
    if (call_.host().now_ns() >= until_) return out;
    sdk::DnsAnswer found = call_.dns(name, kTypes[static_cast<std::size_t>(type)], until_);
    // What cannot be asked for is no name (section 4.3, as for names that are too long).
    const bool nothing = found.status == MR_DNS_NO_DATA || found.status == MR_DNS_NO_NAME || found.status == MR_DNS_INVALID;
    out.status = found.status == MR_DNS_OK ? Answer::Status::ok : nothing ? Answer::Status::nothing : Answer::Status::error;
    if (type == RecordType::mx) {
      std::stable_sort(found.records.begin(), found.records.end(), [](const auto& a, const auto& b) { return a.preference < b.preference; });
    }
    for (auto& record : found.records) out.values.push_back(std::move(record.value));
    return out;
  }

 private:
  sdk::Call& call_;
  std::uint64_t until_ = 0;
};

// One answer per message, whatever the number of its recipients (the attribute `instance`): the header goes in
// once, a refusal is told to each.
class Instances {
 public:
  bool find(const std::string& instance, std::string& action) {
    const std::lock_guard lock(mutex_);
    const auto place = actions_.find(instance);
    if (place == actions_.end() || std::chrono::steady_clock::now() > place->second.until) return false;
    action = place->second.action;
    return true;
  }
  void keep(const std::string& instance, std::string action) {
    if (instance.empty() || instance.size() > 200) return;
    const std::lock_guard lock(mutex_);
    if (!actions_.emplace(instance, Entry{std::move(action), std::chrono::steady_clock::now() + std::chrono::hours(1)}).second) return;
    ages_.push_back(instance);
    if (ages_.size() <= kLimit) return;
    actions_.erase(ages_.front());
    ages_.pop_front();
  }

 private:
  static constexpr std::size_t kLimit = 10'000;
  struct Entry {
    std::string action;
    std::chrono::steady_clock::time_point until;
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> actions_;
  std::list<std::string> ages_;
};

class Spf final : public sdk::Filter {
 public:
  static sdk::Description describe() {
    static const char* const kNeeds[] = {"mr.dns/1", "mr.session/1", "mr.msg/1", nullptr};
    sdk::Description d{"spf", "0.1.0", "Sender Policy Framework (RFC 7208) for HELO and MAIL FROM"};
    d.stages = MR_STAGE_MAIL;
    d.edits = MR_EDIT_HEADERS;
    d.traits = MR_TRAIT_DETERMINISTIC;
    d.config_schema = kSchema;
    d.required_interfaces = kNeeds;
    return d;
  }

  bool configure(const sdk::Settings& keys) override {
    auto parsed = parse_settings(keys);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return host().error(*wrong), false;
    settings_ = std::move(std::get<Settings>(parsed));
    return settings_.per_user.empty() || read_per_user(keys);
  }

  Verdict mail(Call& call) override {
    const Request request{call.fact("client_address"), call.fact("helo_name"), call.sender(), ""};
    const Judgement found = ask(call, request, settings_);
    if (found.action == Action::prepend && !found.header.empty()) prepend(call, found);
    Verdict verdict;
    if (found.action == Action::reject) verdict = Verdict::reject(ascii(found.text), 550, codes(found, "5.7.24", "5.7.23"));
    if (found.action == Action::defer) verdict = Verdict::tempfail(ascii(found.text), 451, codes(found, "4.7.24", "4.7.24"));
    if (*found.identity != '\0') {
      verdict.fact("result", result_name(found.outcome.result)).fact("identity", found.identity).fact("domain", found.outcome.domain);
      if (!found.outcome.mechanism.empty()) verdict.fact("mechanism", found.outcome.mechanism.substr(0, 200));
    }
    return verdict.reason("spf");
  }

  bool is_restriction() const override { return true; }
  std::string check(Call& call, const sdk::Attributes& attributes) override {
    Request request;
    std::string instance, queue_id;
    const std::pair<std::string_view, std::string*> wanted[] = {
        {"client_address", &request.client_address}, {"helo_name", &request.helo}, {"sender", &request.sender},
        {"recipient", &request.recipient},           {"instance", &instance},      {"queue_id", &queue_id}};
    for (const auto& [name, value] : attributes) {
      for (const auto& [word, place] : wanted) {
        if (name == word) *place = value;
      }
    }
    if (request.client_address.empty() && !settings_.prospective) {
      host().warning("a request without client_address");
      return "DUNNO";
    }
    std::string action;
    const bool seen = !instance.empty() && instances_.find(instance, action);
    const Settings* const own = settings_for(request.recipient);
    if (own != nullptr) {   // judged for itself; the message gets one header whoever asks first
      std::string mine = to_action(ask(call, request, *own), *own);
      const bool adds = mine.compare(0, 8, "PREPEND ") == 0;
      if (adds && seen) return "DUNNO";
      if (adds && !seen) instances_.keep(instance, "DUNNO");
      return mine;
    }
    if (seen) return action;
    action = to_action(ask(call, request, settings_), settings_);
    instances_.keep(instance, action.compare(0, 8, "PREPEND ") == 0 ? "DUNNO" : action);
    return action;
  }

 private:
  bool read_per_user(const sdk::Settings& keys) {
    std::ifstream file(settings_.per_user);
    if (!file) return host().error(settings_.per_user + ": " + std::strerror(errno)), false;
    auto parsed = parse_per_user(std::string(std::istreambuf_iterator<char>(file), {}), keys);
    if (const auto* const wrong = std::get_if<std::string>(&parsed)) return host().error(settings_.per_user + ", " + *wrong), false;
    per_user_ = std::move(std::get<PerUser>(parsed));
    return true;
  }
  // Of the recipient alone; nullptr: those of all.
  const Settings* settings_for(std::string recipient) const {
    if (per_user_.empty()) return nullptr;
    for (char& c : recipient) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const auto place = per_user_.find(recipient);
    return place == per_user_.end() ? nullptr : &place->second;
  }
  Judgement ask(Call& call, const Request& request, const Settings& settings) {
    HostResolver resolver(call);
    Judgement found = judge(resolver, settings, authserv_id(call), request);
    const bool checked = *found.identity != '\0';
    host().count(checked ? result_name(found.outcome.result) : "unchecked");
    if (settings_.log_level >= 1 && (checked || !found.why.empty())) {
      std::string line = checked ? std::string("identity=") + found.identity + "; result=" + result_name(found.outcome.result) : found.why;
      line += "; client-ip=" + request.client_address + "; helo=" + request.helo + "; envelope-from=" +
              (request.sender.empty() ? "<>" : request.sender);
      if (settings_.log_level >= 2) line += "; mechanism=" + found.outcome.mechanism + "; record=" + found.outcome.record;
      if (!found.outcome.problem.empty()) line += "; problem=" + found.outcome.problem;
      host().info(line);
    }
    return found;
  }
  // Authentication-Results goes through the host, which joins what its filters say; Received-SPF is ours.
  void prepend(Call& call, const Judgement& found) const {
    if (settings_.header == HeaderType::auth_results && settings_.authserv_id.empty() && *found.identity != '\0') {
      const bool is_helo = found.identity[0] == 'h';
      const std::string sender = call.sender();
      const std::string value = is_helo ? call.fact("helo_name") : sender.substr(sender.rfind('@') + 1);
      if (call.auth_result("spf", result_name(found.outcome.result), "", {{is_helo ? "smtp.helo" : "smtp.mailfrom", value}})) return;
    }
    const std::size_t colon = found.header.find(':');
    call.prepend_header(found.header.substr(0, colon), found.header.substr(colon + 2));
  }
  std::string codes(const Judgement& found, const char* error, const char* usual) const {
    return !settings_.enhanced_codes ? "" : found.is_error ? error : usual;
  }
  static std::string ascii(std::string text) {   // replies are ASCII unless both ends said otherwise
    for (char& c : text) {
      if (static_cast<unsigned char>(c) > 0x7E) c = '?';
    }
    return text;
  }
  std::string authserv_id(Call& call) const {
    mr_string id{nullptr, 0};
    const mr_auth_results_1* const table = host().auth_results();
    if (!MR_HAS(mr_auth_results_1, table, identity) || table->identity(host().ctx(), call.raw().call, &id) != MR_OK) return "unknown";
    return std::string(sdk::view(id));
  }

  Settings settings_;
  PerUser per_user_;
  Instances instances_;
};

}  // namespace

MILLRACE_PLUGIN(Spf)
