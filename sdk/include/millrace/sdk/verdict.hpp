// What a stage of a filter of plugin.hpp answers.
#ifndef MILLRACE_SDK_VERDICT_HPP
#define MILLRACE_SDK_VERDICT_HPP

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "millrace/sdk/text.hpp"

namespace millrace {
namespace sdk {

// What a stage answers; proceed unless said otherwise.
class Verdict {
 public:
  Verdict() = default;
  static Verdict accept() { return Verdict(MR_ACCEPT); }
  // Text for the client; code and enhanced code of its class, or the action's own.
  static Verdict reject(std::string text, int code = 0, std::string enhanced = {}) { return Verdict(MR_REJECT, std::move(text), code, std::move(enhanced)); }
  static Verdict tempfail(std::string text, int code = 0, std::string enhanced = {}) { return Verdict(MR_TEMPFAIL, std::move(text), code, std::move(enhanced)); }
  static Verdict discard() { return Verdict(MR_DISCARD); }
  static Verdict quarantine(std::string text = {}) { return Verdict(MR_QUARANTINE, std::move(text)); }
  static Verdict disconnect(std::string text = {}, int code = 0) { return Verdict(MR_DISCONNECT, std::move(text), code); }
  // The filter's failure policy answers.
  static Verdict failure() { return Verdict(-1); }

  Verdict& reason(std::string id) { return reason_ = std::move(id), *this; }
  Verdict& score(double value) { return score_ = value, *this; }
  Verdict& fact(std::string name, std::string value) { return facts_.emplace_back(std::move(name), std::move(value)), *this; }
  Verdict& for_session() { return flags_ |= MR_VERDICT_FOR_SESSION, *this; }
  int action() const { return action_; }

  // Into the C form; the host copies.  Returns what on_stage returns.
  std::int32_t give(const mr_host& host, mr_handle call, mr_verdict& into) const {
    if (action_ < 0) return MR_E_FAILED;
    if (action_ == MR_CONTINUE && facts_.empty() && score_ == 0) return MR_DONE;
    std::vector<mr_fact> facts;
    for (const auto& one : facts_) facts.push_back({text_of(one.first), text_of(one.second)});
    into.action = action_;
    into.smtp_code = code_;
    into.flags = flags_;
    into.enhanced = text_of(enhanced_);
    into.text = text_of(text_);
    into.reason_id = text_of(reason_);
    into.score = score_;
    into.facts = facts.data();
    into.fact_count = facts.size();
    (void)host.complete(host.ctx, call, &into);
    return MR_PENDING;
  }

 private:
  explicit Verdict(int action, std::string text = {}, int code = 0, std::string enhanced = {})
      : action_(action), code_(code), text_(std::move(text)), enhanced_(std::move(enhanced)) {}
  int action_ = MR_CONTINUE;
  int code_ = 0;
  std::uint32_t flags_ = 0;
  std::string text_, enhanced_, reason_;
  double score_ = 0;
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace sdk
}  // namespace millrace

#endif
