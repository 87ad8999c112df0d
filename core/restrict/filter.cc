// The restrictions as a filter of the chain: see restrict.h.
#include "core/restrict/restrict.h"

#include "core/restrict/run.h"

namespace millrace::restrict {

namespace {

using filter::Edit;
using filter::Stage;
using filter::Verdict;

class Session final : public filter::FilterSession {
 public:
  explicit Session(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}

  Verdict at(Stage stage, filter::Context& context) override {
    if (stage == Stage::unknown) return {};
    if (stage == Stage::mail) clear();   // also when nobody told us that the transaction before ended
    Verdict verdict = Run(*rules_, state_, context, stage).evaluate();
    if (stage == Stage::mail && !verdict.refuses()) state_.has_sender = true;
    return verdict;
  }

  Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
    Verdict verdict = Run(*rules_, state_, context, Stage::eom, &message).evaluate();
    if (verdict.stops()) return verdict;
    for (const std::string& field : state_.prepend) {
      const std::size_t colon = field.find(':');
      std::string name = field.substr(0, colon);
      while (!name.empty() && name.back() == ' ') name.pop_back();
      journal.add({Edit::Kind::prepend_header, 0, std::move(name), field.substr(colon + 1), true});
    }
    // As with Postfix the first copy may be reported on and the others may not.
    for (std::size_t i = 0; i < state_.bcc.size(); ++i) {
      journal.add({Edit::Kind::add_recipient, 0, state_.bcc[i], i == 0 ? "" : "NOTIFY=NEVER"});
    }
    return verdict;
  }

  void abort() override { clear(); }

 private:
  void clear() {
    state_.has_sender = false;
    state_.instance.clear();
    state_.prepend.clear();
    state_.bcc.clear();
    state_.answers.clear();
    state_.after_sender.reset();
    ++state_.transactions;
  }

  std::shared_ptr<const Rules> rules_;
  SessionState state_;
};

class Restrictions final : public filter::Filter {
 public:
  explicit Restrictions(std::shared_ptr<const Rules> rules) : rules_(std::move(rules)) {}
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override {
    return std::make_unique<Session>(rules_);
  }
  const std::string& name() const override { return name_; }

 private:
  std::shared_ptr<const Rules> rules_;
  std::string name_ = "restrictions";
};

}  // namespace

std::shared_ptr<filter::Filter> make_filter(const Environment& environment, config::Findings& findings) {
  auto rules = compile(environment, findings);
  if (!rules) return nullptr;
  return std::make_shared<Restrictions>(std::move(rules));
}

}  // namespace millrace::restrict
