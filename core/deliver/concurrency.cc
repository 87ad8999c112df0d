#include "core/deliver/concurrency.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
// n failed cohorts of 1/n must reach 1.
constexpr double kEpsilon = 1e-4;

std::optional<double> parse_positive(std::string_view text) {
  const std::string number(trim(text));
  if (number.empty()) return {};
  for (const char c : number) {
    if (!is_digit(c) && c != '.') return {};
  }
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (*end != '\0') return {};
  return value;
}
}  // namespace

double Feedback::at(std::size_t window) const {
  const double n = static_cast<double>(std::max<std::size_t>(window, 1));
  switch (per) {
    case Per::constant: return value;
    case Per::concurrency: return value / n;
    case Per::sqrt_concurrency: return value / std::sqrt(n);
  }
  return value;
}

std::optional<Feedback> parse_feedback(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto value = parse_positive(text.substr(0, slash));
  if (!value) return {};
  Feedback out;
  out.value = *value;
  if (slash != text.npos) {
    const std::string_view under = trim(text.substr(slash + 1));
    if (iequals(under, "concurrency")) {
      out.per = Feedback::Per::concurrency;
    } else if (iequals(under, "sqrt_concurrency")) {
      out.per = Feedback::Per::sqrt_concurrency;
    } else {
      const auto divisor = parse_positive(under);
      if (!divisor || *divisor == 0) return {};
      out.value /= *divisor;
    }
  }
  if (out.value < 0 || out.value > 1) return {};
  return out;
}

ConcurrencyWindow::ConcurrencyWindow(const ConcurrencyRules& rules) : rules_(&rules), size_(0) { revive(); }

void ConcurrencyWindow::revive() {
  size_ = std::max<std::size_t>(rules_->initial, 1);
  if (rules_->limit > 0) size_ = std::min(size_, rules_->limit);
  good_ = bad_ = cohorts_ = 0;
}

// A sum is rounded by half a step, as the scheduler of Postfix does: 1/n n times is 1 whatever the last bit says, and
// after each growth the first failure costs two where a failure counts 1.  That second one is what keeps the window
// close to what the destination takes; without it a sink that takes 3 sees up to 8.
void ConcurrencyWindow::success(std::size_t busy) {
  cohorts_ = 0;
  if (dead()) return revive();
  // Grow only while what there is gets used.
  if (size_ >= busy + std::max<std::size_t>(rules_->initial, 1)) return;
  // At the limit nothing is saved up for later.
  if (rules_->limit > 0 && size_ >= rules_->limit) return;
  const double step = rules_->positive.at(size_);
  good_ += step;
  while (step > 0 && good_ + step / 2 >= 1) {
    good_ -= 1;
    bad_ = 0;
    if (rules_->limit == 0 || size_ < rules_->limit) ++size_;
  }
}

void ConcurrencyWindow::failure() {
  if (dead()) return;
  cohorts_ += 1.0 / static_cast<double>(size_);
  if (rules_->failed_cohorts > 0 && cohorts_ + kEpsilon >= rules_->failed_cohorts) {
    size_ = 0;
    return;
  }
  const double step = rules_->negative.at(size_);
  bad_ -= step;
  while (step > 0 && bad_ - step / 2 < 0) {
    bad_ += 1;
    good_ = 0;
    if (size_ > 1) --size_;
  }
}

}  // namespace millrace::deliver
