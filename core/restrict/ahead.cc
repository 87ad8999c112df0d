// DNS side by side: when the first DNS word of a list is reached, the questions of that list, and of the
// lists that will surely run for the same command, are started together.  The words are still evaluated in
// order; the wait is that of the slowest answer instead of the sum.
//
// Words that ask nobody are evaluated in advance on a copy of the run, so that no question is sent which
// they would have saved: none for a client that permit_mynetworks accepts, none for a recipient that
// reject_unauth_destination refuses.  A policy service, a script or an access table stops the view into
// later lists, because what it will say is not known.
#include <algorithm>
#include <memory>

#include "core/restrict/run.h"

namespace millrace::restrict {

namespace {
constexpr int kMaxAhead = 10;   // classes within classes
}

void Run::look_ahead() {
  if (!params_.smtpd_dns_lookahead) return;
  const Step* const now = &frames_.back().program->steps[frames_.back().next - 1];
  if (std::find(seen_ahead_.begin(), seen_ahead_.end(), now) != seen_ahead_.end()) return;
  bool met = true;
  Ahead view = Ahead::goes_on;
  // A class or a table's result gives its outcome to the list that led to it.
  for (std::size_t i = frames_.size(); i-- > 0 && view == Ahead::goes_on;) {
    const Frame& frame = frames_[i];
    const std::size_t from = i + 1 == frames_.size() ? frame.next - 1 : frame.next;
    view = scan(*frame.program, from, 0, met);
  }
  for (std::size_t i = list_ + 1; i < lists_.size(); ++i) {
    if (view == Ahead::all_end || view == Ahead::unknown || lists_[i] == nullptr) return;
    met = false;
    view = scan(*lists_[i], 0, 0, met);
  }
}

Run::Ahead Run::scan(const Program& program, std::size_t from, int depth, bool& met) {
  if (depth > kMaxAhead) return Ahead::unknown;
  bool warned = false;
  for (std::size_t i = from; i < program.steps.size(); ++i) {
    const Step& step = program.steps[i];
    if (step.word != nullptr && step.word->handler == nullptr) {
      warned = true;
      continue;
    }
    const bool only_logs = std::exchange(warned, false);
    Ahead view = Ahead::goes_on;
    if (step.restriction_class != nullptr) {
      view = scan(*step.restriction_class, 0, depth + 1, met);
    } else if (step.word->ahead != nullptr) {
      met = true;
      seen_ahead_.push_back(&step);
      (this->*step.word->ahead)(step);
    } else if (step.word->is_local()) {
      const auto trial = std::make_unique<Run>(*this);   // not on the session's small stack
      trial->silent_ = true;
      trial->warn_depth_ = 0;
      const Status status = ((*trial).*step.word->handler)(step);
      if (status == Status::ok) view = Ahead::list_ends;
      if (status == Status::reject) view = Ahead::all_end;
    } else if (!met) {
      view = Ahead::unknown;
    }
    if (view == Ahead::all_end && only_logs) view = Ahead::goes_on;
    if (view != Ahead::goes_on) return view;
  }
  return Ahead::goes_on;
}

}  // namespace millrace::restrict
