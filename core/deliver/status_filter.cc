#include "core/deliver/status_filter.h"

#include "core/base/strings.h"
#include "core/deliver/reply.h"

namespace millrace::deliver {

namespace {
class FilteredAgent final : public Agent {
 public:
  FilteredAgent(std::unique_ptr<Agent> agent, map::Maps filter, log::Logger log)
      : agent_(std::move(agent)), filter_(std::move(filter)), log_(std::move(log)) {}

  void deliver(Attempt& attempt, std::unique_ptr<Carry>& carry) override {
    agent_->deliver(attempt, carry);
    for (Outcome& outcome : attempt.outcomes) filter_status(filter_, outcome, log_);
  }
  bool can_verify() const override { return agent_->can_verify(); }
  void release(const std::string& nexthop, std::unique_ptr<Carry> carry, bool busy) override {
    agent_->release(nexthop, std::move(carry), busy);
  }
  void stop() override { agent_->stop(); }

 private:
  std::unique_ptr<Agent> agent_;
  map::Maps filter_;
  log::Logger log_;
};
}  // namespace

void filter_status(const map::Maps& filter, Outcome& outcome, const log::Logger& log) {
  if (outcome.status == Outcome::Status::pending) return;
  const map::Lookup found = filter.find(outcome.dsn + " " + outcome.text);
  if (!found) return log.warning("delivery status filter: " + found.error().context);
  if (!*found) return;
  const std::string_view dsn = leading_dsn(**found);
  const std::string text(trim(std::string_view(**found).substr(dsn.size())));
  if (dsn.empty() || text.empty()) return log.warning("bad delivery status filter result: " + printable(**found));
  const bool success = outcome.status == Outcome::Status::sent;
  if (success != (dsn[0] == '2')) {
    return log.warning("delivery status filter cannot turn \"" + printable(outcome.dsn) + "\" into \"" + printable(**found) + "\"");
  }
  outcome.dsn = dsn;
  outcome.text = text;
  if (!success) outcome.status = dsn[0] == '5' ? Outcome::Status::bounced : Outcome::Status::deferred;
}

std::unique_ptr<Agent> make_filtered_agent(std::unique_ptr<Agent> agent, map::Maps filter, log::Logger log) {
  return std::make_unique<FilteredAgent>(std::move(agent), std::move(filter), std::move(log));
}

}  // namespace millrace::deliver
