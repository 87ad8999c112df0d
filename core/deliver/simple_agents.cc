#include "core/deliver/simple_agents.h"

#include "core/base/strings.h"
#include "core/deliver/reply.h"

namespace millrace::deliver {

namespace {
class FixedAgent : public Agent {
 public:
  FixedAgent(Outcome::Status status, std::string dsn, std::string text)
      : status_(status), dsn_(std::move(dsn)), text_(std::move(text)) {}

  void deliver(Attempt& attempt, std::unique_ptr<Carry>&) override {
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.connected = wall_now();
    std::string dsn = dsn_, text = text_;
    if (text.empty()) {
      const std::string_view given = leading_dsn(attempt.nexthop);
      text = std::string(trim(std::string_view(attempt.nexthop).substr(given.size())));
      // A code of another class would contradict what happens to the mail.
      if (!given.empty() && given[0] == dsn_[0]) dsn = given;
    }
    attempt.all_pending(status_, dsn, text);
    for (Outcome& outcome : attempt.outcomes) outcome.last_hop = status_ == Outcome::Status::sent;
  }
  bool can_verify() const override { return true; }
  void release(const std::string&, std::unique_ptr<Carry>, bool) override {}

 private:
  Outcome::Status status_;
  std::string dsn_, text_;
};
}  // namespace

std::unique_ptr<Agent> make_error_agent() {
  return std::make_unique<FixedAgent>(Outcome::Status::bounced, "5.0.0", "");
}
std::unique_ptr<Agent> make_retry_agent() {
  return std::make_unique<FixedAgent>(Outcome::Status::deferred, "4.0.0", "");
}
std::unique_ptr<Agent> make_discard_agent() {
  return std::make_unique<FixedAgent>(Outcome::Status::sent, "2.0.0", "");
}
std::unique_ptr<Agent> make_unavailable_agent() {
  return std::make_unique<FixedAgent>(Outcome::Status::deferred, "4.3.0", "mail transport unavailable");
}

}  // namespace millrace::deliver
