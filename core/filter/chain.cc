// Asking the filters of a session in order: see chain.h for the rules.
//
// A stage in which nobody has anything to say costs two clock readings per filter and no allocation: such
// answers are counted in the member and become one trace line per transaction.
#include "core/filter/chain.h"

#include <algorithm>

namespace millrace::filter {

namespace {

constexpr std::size_t kStages = static_cast<std::size_t>(Stage::etrn) + 1;

bool ends_stage(const Verdict& verdict) { return verdict.stops() && verdict.action != Action::quarantine; }

bool session_stage(Stage stage) { return stage == Stage::connect || stage == Stage::helo; }

// Puts what a guest changed in the context back when its turn is over.
class Turn {
 public:
  Turn(Context& context, const Options& options) : context_(context), deadline_(context.deadline) {
    if (options.timeout.count() > 0) context_.deadline = deadline_.earlier(Deadline::after(options.timeout));
  }
  ~Turn() { context_.deadline = deadline_; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Context& context_;
  Deadline deadline_;
};

std::int64_t micros_since(TimePoint start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start).count();
}

Context copy_for_shadow(const Context& context, mime::Envelope& envelope) {
  return {.session = context.session,
          .envelope = envelope,
          .rcpt = context.rcpt,
          .command = context.command,
          .typed = context.typed,
          .parameters = context.parameters,
          .rejected = context.rejected,
          .rejection = context.rejection,
          .deadline = context.deadline,
          .log = context.log};
}

}  // namespace

struct ChainSession::Member {
  std::shared_ptr<Filter> filter;
  std::unique_ptr<FilterSession> session;
  enum class Silence { none, transaction, session } silence = Silence::none;
  std::array<std::uint32_t, kStages> passes{};  // uneventful answers by stage, not yet in the trace
  std::int64_t pass_us = 0;
};

ChainSession::ChainSession(const Chain& chain, const SessionFacts& facts, TraceSink* trace, const log::Logger& log)
    : facts_(facts), trace_(trace), log_(log) {
  members_.reserve(chain.filters().size());
  for (const auto& filter : chain.filters()) {
    Member& member = members_.emplace_back();
    member.filter = filter;
    member.session = filter->open(facts);
  }
}

ChainSession::~ChainSession() { note_passes(); }

bool ChainSession::silent(const Member& member, Stage stage, const Context& context) const {
  if (member.silence != Member::Silence::none) return true;
  return context.rejected && !(stage == Stage::rcpt && member.session->wants_rejected());
}

// A failed filter answers its default action; whoever ends the conversation falls silent.
void ChainSession::settle(Member& member, Stage stage, Verdict& verdict, const Context& context) {
  const Options& options = member.filter->options;
  if (!verdict.failure.empty()) {
    (context.log != nullptr ? *context.log : log_).warning(verdict.failure);
    Verdict answer = options.default_action;
    answer.sticky = answer.sticky || verdict.sticky;
    if (answer.reason_id.empty()) answer.reason_id = std::move(verdict.reason_id);
    verdict = std::move(answer);
  }
  if (verdict.action == Action::accept) {
    member.silence = session_stage(stage) ? Member::Silence::session : Member::Silence::transaction;
  } else if (options.shadow && ends_stage(verdict)) {
    if (session_stage(stage) || verdict.action == Action::disconnect) {
      member.silence = Member::Silence::session;
    } else if (stage != Stage::rcpt || verdict.action == Action::discard) {
      member.silence = Member::Silence::transaction;
    }
  }
}

Verdict ChainSession::ask(Member& member, Stage stage, Context& context) {
  Turn turn(context, member.filter->options);
  const TimePoint start = SteadyClock::now();
  Verdict verdict;
  if (member.filter->options.shadow) {
    mime::Envelope envelope = context.envelope;
    Context own = copy_for_shadow(context, envelope);
    verdict = member.session->at(stage, own);
  } else {
    verdict = member.session->at(stage, context);
  }
  const std::int64_t latency_us = micros_since(start);
  const std::string failure = verdict.failure;
  settle(member, stage, verdict, context);
  if (trace_ != nullptr) {
    if (verdict.action == Action::proceed && failure.empty() && verdict.facts.empty() && verdict.score == 0) {
      ++member.passes[static_cast<std::size_t>(stage)];
      member.pass_us += latency_us;
    } else {
      note(stage, member, verdict, failure, latency_us, context, {});
    }
  }
  return verdict;
}

Verdict ChainSession::at(Stage stage, Context& context) {
  if (members_.empty()) return {};
  if (stage == Stage::mail && !in_transaction_) {
    in_transaction_ = true;
    ++transaction_;
  }
  if (!context.envelope.queue_id.empty()) queue_id_ = context.envelope.queue_id;
  Verdict answer;
  const bool rejected_before = context.rejected;
  for (Member& member : members_) {
    if (silent(member, stage, context)) continue;
    Verdict verdict = ask(member, stage, context);
    if (context.rejected || member.filter->options.shadow || !verdict.stops()) continue;
    if (!ends_stage(verdict)) {
      if (answer.stops()) continue;  // the first quarantine is the one that is told
      last_filter_ = member.filter->name();
      answer = std::move(verdict);
      continue;
    }
    last_filter_ = member.filter->name();
    answer = std::move(verdict);
    if (stage != Stage::rcpt || !answer.refuses()) break;
    context.rejected = true;
    context.rejection = answer;
  }
  if (!rejected_before && context.rejected) {
    context.rejected = false;
    context.rejection = {};
  }
  return answer;
}

Verdict ChainSession::message(Context& context, mime::Message& message, int spool_directory) {
  if (!context.envelope.queue_id.empty()) queue_id_ = context.envelope.queue_id;
  Verdict answer;
  for (Member& member : members_) {
    if (silent(member, Stage::eom, context)) continue;
    const bool shadow = member.filter->options.shadow;
    Journal journal;
    journal.spool_directory = spool_directory;
    Verdict verdict;
    const TimePoint start = SteadyClock::now();
    {
      Turn turn(context, member.filter->options);
      if (shadow) {
        mime::Envelope envelope = context.envelope;
        Context own = copy_for_shadow(context, envelope);
        verdict = member.session->message(own, message, journal);
      } else {
        verdict = member.session->message(context, message, journal);
      }
    }
    std::vector<std::string> edits;
    if (!journal.empty() && verdict.failure.empty()) {
      edits = describe_edits(journal);
      if (!shadow && !ends_stage(verdict)) {
        if (auto done = apply(journal, context.envelope, message, nullptr); !done) {
          verdict = Verdict::fail(member.filter->name() + ": cannot apply its edits: " + done.error().context);
          edits.clear();
        } else {
          edit_log_.insert(edit_log_.end(), edits.begin(), edits.end());
        }
      }
    }
    const std::int64_t latency_us = micros_since(start);
    const std::string failure = verdict.failure;
    settle(member, Stage::eom, verdict, context);
    if (trace_ != nullptr) note(Stage::eom, member, verdict, failure, latency_us, context, std::move(edits));
    if (shadow || !verdict.stops()) continue;
    if (!ends_stage(verdict) && answer.stops()) continue;
    last_filter_ = member.filter->name();
    answer = std::move(verdict);
    if (ends_stage(answer)) break;
  }
  return answer;
}

void ChainSession::abort() {
  for (Member& member : members_) {
    member.session->abort();
    if (member.silence == Member::Silence::transaction) member.silence = Member::Silence::none;
  }
  note_passes();
  in_transaction_ = false;
  queue_id_.clear();
  edit_log_.clear();
}

void ChainSession::note(Stage stage, Member& member, const Verdict& verdict, std::string_view failure,
                        std::int64_t latency_us, const Context& context, std::vector<std::string> edits) {
  TraceLine line;
  line.when = wall_now();
  line.stage = stage_name(stage);
  line.filter = member.filter->name();
  line.action = action_name(verdict.action);
  line.text = verdict.enhanced.empty() ? verdict.text : verdict.enhanced + " " + verdict.text;
  line.reason_id = verdict.reason_id;
  line.failure = failure;
  line.code = verdict.code;
  line.latency_us = latency_us;
  line.shadow = member.filter->options.shadow;
  line.score = verdict.score;
  line.facts = verdict.facts;
  line.edits = std::move(edits);
  line.transaction = transaction_;
  if (context.rcpt != nullptr) line.recipient = context.rcpt->address;
  line.queue_id = queue_id_;
  trace_->record(facts_, std::move(line));
}

void ChainSession::note_passes() {
  if (trace_ == nullptr) return;
  for (Member& member : members_) {
    std::string text;
    for (std::size_t stage = 0; stage < kStages; ++stage) {
      const unsigned count = std::exchange(member.passes[stage], std::uint32_t{0});
      if (count == 0) continue;
      if (!text.empty()) text += ' ';
      text += stage_name(static_cast<Stage>(stage));
      if (count > 1) text += "=" + std::to_string(count);
    }
    if (text.empty()) continue;
    TraceLine line;
    line.when = wall_now();
    line.stage = "passed";
    line.filter = member.filter->name();
    line.action = action_name(Action::proceed);
    line.text = std::move(text);
    line.latency_us = std::exchange(member.pass_us, 0);
    line.shadow = member.filter->options.shadow;
    line.transaction = transaction_;
    line.queue_id = queue_id_;
    trace_->record(facts_, std::move(line));
  }
}

}  // namespace millrace::filter
