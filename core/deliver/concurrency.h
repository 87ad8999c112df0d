// How many deliveries to one destination may run at once: Postfix's feedback algorithm
// (SCHEDULER_README; initial_destination_concurrency, …_concurrency_limit, …_positive_feedback,
// …_negative_feedback, …_failed_cohort_limit).  Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace millrace::deliver {

// "1", "0.5", "1/8", "1/concurrency", "1/sqrt_concurrency".
struct Feedback {
  enum class Per { constant, concurrency, sqrt_concurrency } per = Per::constant;
  double value = 1;
  double at(std::size_t window) const;
};
std::optional<Feedback> parse_feedback(std::string_view text);

struct ConcurrencyRules {
  std::size_t initial = 5;
  std::size_t limit = 20;     // 0: none
  Feedback positive, negative;
  double failed_cohorts = 1;  // 0: a destination never dies
};

class ConcurrencyWindow {
 public:
  explicit ConcurrencyWindow(const ConcurrencyRules& rules);
  std::size_t size() const { return size_; }   // 0: dead
  bool dead() const { return size_ == 0; }
  // A delivery ended, `busy` (this one included) were running.
  void success(std::size_t busy);
  void failure();
  void revive();
  // For the log: what is saved up towards the next step up and down, and the failed cohorts.
  double good() const { return good_; }
  double bad() const { return bad_; }
  double cohorts() const { return cohorts_; }

 private:
  const ConcurrencyRules* rules_;
  std::size_t size_;
  double good_ = 0, bad_ = 0, cohorts_ = 0;
};

}  // namespace millrace::deliver
