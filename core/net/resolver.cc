// Resolver over libunbound.  Its code runs on the loop's own stack, because nobody promises how
// deep it goes; the fiber that asks stands still meanwhile.
#include <fmt/format.h>
#include <idn2.h>
#include <unbound-event.h>
#include <unbound.h>

#include <list>

#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/net/dns.h"
#include "core/net/host_files.h"
#include "core/net/scheduler.h"
#include "core/net/unbound_events.h"

namespace millrace::net {
namespace {

constexpr std::size_t kMaxQuestion = 253;  // a name in text, RFC 1035 section 2.3.4

struct Setting {
  const char *name, *value;
};
const Setting kSettings[] = {
    {"do-not-query-localhost:", "no"},  // the usual forwarder is on 127.0.0.1
    {"unblock-lan-zones:", "yes"},      // or private and documentation networks have no names
    {"rrset-roundrobin:", "no"},  // callers shuffle what they want shuffled; the first PTR counts
    {"outgoing-range:", "512"},   // the library's default is 16 questions at once
    {"num-queries-per-thread:", "2048"}, {"msg-cache-size:", "4m"}, {"rrset-cache-size:", "8m"},
    {"infra-host-ttl:", "30"},  // a forwarder that was down is asked again soon
};

class Context;

// One question, kept by its context until it is answered and by who waits for it.
struct Question {
  Context* context = nullptr;  // until it is answered
  std::string name;
  DnsType type{};
  DnsAnswer answer;
  Event* waiter = nullptr;  // null: nobody waits now
  bool answered = false;
  std::list<std::shared_ptr<Question>>::iterator place;
};

// One libunbound context with the forwarders of one state of resolv.conf.
class Context {
 public:
  Context(const std::vector<std::string>& forwarders, const std::string& trust_anchor_file)
      : ctx_(ub_ctx_create_ub_event(unbound_event_base())) {
    if (ctx_ == nullptr) return;
    ub_ctx_debugout(ctx_, nullptr);
    for (const Setting& setting : kSettings)
      check(ub_ctx_set_option(ctx_, setting.name, setting.value), setting.name);
    if (trust_anchor_file.empty()) {
      check(ub_ctx_set_option(ctx_, "module-config:", "iterator"), "module-config");
    } else {
      check(ub_ctx_add_ta_file(ctx_, trust_anchor_file.c_str()), trust_anchor_file.c_str());
    }
    for (const std::string& server : forwarders)
      check(ub_ctx_set_fwd(ctx_, server.c_str()), server.c_str());
    // Last, because it closes the context to the settings above.  RFC 6761 names that libunbound
    // answers itself, while Postfix asks: tests and DNS lists of private networks live there.
    check(ub_ctx_zone_add(ctx_, "test.", "transparent"), "test.");
    check(ub_ctx_zone_add(ctx_, "127.in-addr.arpa.", "transparent"), "127.in-addr.arpa.");
  }

  ~Context() {
    if (ctx_ != nullptr) ub_ctx_delete(ctx_);  // questions in flight are dropped without a callback
  }
  Context(const Context&) = delete;

  bool idle() const { return questions_.empty(); }

  // The question may be answered when this returns.
  void ask(const std::shared_ptr<Question>& question) {
    question->context = this;
    question->place = questions_.insert(questions_.end(), question);
    const int failed = ctx_ == nullptr ? -1
                                       : ub_resolve_event(ctx_, question->name.c_str(),
                                                          static_cast<int>(question->type), 1,
                                                          question.get(), &Context::answered, nullptr);
    if (failed != 0) finish(*question, DnsStatus::temporary);
  }

 private:
  static void check(int status, const char* what) {
    if (status != 0)
      log::Logger().warning(fmt::format("resolver: {}: {}", what, ub_strerror(status)));
  }

  static void answered(void* with, int rcode, void* packet, int length, int security, char*, int) {
    Question& question = *static_cast<Question*>(with);
    DnsStatus status = rcode == 3 ? DnsStatus::no_name : DnsStatus::temporary;
    if (security == 1) {
      status = DnsStatus::bogus;
    } else if (rcode == 0 && packet != nullptr && length > 0) {
      question.answer = parse_dns_answer(
          {static_cast<const char*>(packet), static_cast<std::size_t>(length)}, question.type);
      status = question.answer.status;
    }
    question.answer.secure = security == 2;
    question.context->finish(question, status);
  }

  void finish(Question& question, DnsStatus status) {
    question.answer.status = status;
    // With the name as it was asked for: the packet may spell it otherwise.
    question.answer.why = dns_failure_text(question.name, question.type, status);
    question.answered = true;
    question.context = nullptr;
    if (question.waiter != nullptr) question.waiter->set();
    questions_.erase(question.place);  // perhaps the last to hold it
  }

  ub_ctx* ctx_;
  std::list<std::shared_ptr<Question>> questions_;
};

DnsAnswer unanswered(std::string_view name, DnsType type, DnsStatus status) {
  DnsAnswer answer;
  answer.status = status;
  answer.why = dns_failure_text(printable(name), type, status);
  return answer;
}

class Pending final : public DnsQuestion {
 public:
  explicit Pending(std::shared_ptr<Question> question) : question_(std::move(question)) {}

  const DnsAnswer& answer(Deadline deadline) override {
    if (!question_->answered) {
      Event event;
      question_->waiter = &event;
      (void)event.wait(deadline);
      question_->waiter = nullptr;
    }
    if (question_->answered) return question_->answer;
    late_ = unanswered(question_->name, question_->type, DnsStatus::temporary);
    return late_;
  }

 private:
  std::shared_ptr<Question> question_;
  DnsAnswer late_;
};

// A name as it goes into a question; "" when it is none.
std::string question_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string out(name);
  if (!is_ascii(name)) {  // an internationalized domain name, RFC 5890
    char* encoded = nullptr;
    if (idn2_to_ascii_8z(out.c_str(), &encoded, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
      return "";
    out = encoded;
    idn2_free(encoded);
  }
  std::size_t label = 0;
  for (const char c : out) {
    // Control bytes, and the backslash that begins an escape in libunbound's reading.
    if (c < ' ' || c == '\\' || c == 0x7F) return "";
    label = c == '.' ? 0 : label + 1;
    if (label > 63) return "";
  }
  const bool empty_label =
      out.starts_with('.') || out.ends_with('.') || out.find("..") != std::string::npos;
  return out.size() > kMaxQuestion || empty_label ? "" : out;
}

class UnboundResolver final : public Resolver {
 public:
  explicit UnboundResolver(const ResolverOptions& options)
      : options_(options), resolv_conf_(options.resolv_conf) {}

  ~UnboundResolver() override {
    on_loop_stack([this] {
      old_.clear();
      context_.reset();
    });
  }

  DnsAnswer query(std::string_view name, DnsType type, Deadline deadline) override {
    return Pending(begin(name, type)).answer(deadline);
  }

  std::unique_ptr<DnsQuestion> start(std::string_view name, DnsType type) override {
    return std::make_unique<Pending>(begin(name, type));
  }

  void prefetch(std::string_view name, DnsType type) override { (void)begin(name, type); }

 private:
  std::shared_ptr<Question> begin(std::string_view name, DnsType type) {
    auto question = std::make_shared<Question>();
    question->name = question_name(name);
    question->type = type;
    if (question->name.empty()) {
      question->answer = unanswered(name, type, DnsStatus::invalid);
      question->answered = true;
    } else {
      on_loop_stack([&] { ask(question); });
    }
    return question;
  }

  void ask(const std::shared_ptr<Question>& question) {
    if (resolv_conf_.changed()) {
      const std::vector<std::string> forwarders = parse_resolv_conf(resolv_conf_.read());
      if (context_ == nullptr || forwarders != forwarders_) {
        // Questions in flight keep the context that they were asked with.
        if (context_ != nullptr) old_.push_back(std::move(context_));
        forwarders_ = forwarders;
        context_ = std::make_unique<Context>(forwarders, options_.trust_anchor_file);
      }
    }
    std::erase_if(old_, [](const std::unique_ptr<Context>& context) { return context->idle(); });
    context_->ask(question);
  }

  const ResolverOptions options_;
  FileWatch resolv_conf_;
  std::vector<std::string> forwarders_;
  std::unique_ptr<Context> context_;
  std::vector<std::unique_ptr<Context>> old_;
};

class Later final : public DnsQuestion {
 public:
  Later(Resolver& resolver, std::string_view name, DnsType type) : resolver_(resolver), name_(name), type_(type) {}
  const DnsAnswer& answer(Deadline deadline) override {
    if (!answer_) answer_ = resolver_.query(name_, type_, deadline);
    return *answer_;
  }

 private:
  Resolver& resolver_;
  std::string name_;
  DnsType type_;
  std::optional<DnsAnswer> answer_;
};

}  // namespace

std::unique_ptr<DnsQuestion> Resolver::start(std::string_view name, DnsType type) {
  return std::make_unique<Later>(*this, name, type);
}

std::unique_ptr<Resolver> make_resolver(const ResolverOptions& options) {
  return std::make_unique<UnboundResolver>(options);
}

}  // namespace millrace::net
