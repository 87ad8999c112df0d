// Asking the filters of a session in order: see chain.h for the rules.
//
// A stage in which nobody has anything to say costs two clock readings per filter and no allocation: such
// answers are counted in the member and become one trace line per transaction.
#include "core/filter/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "core/filter/element.h"
#include "core/net/fiber.h"

namespace millrace::filter {

namespace {

constexpr std::size_t kStages = static_cast<std::size_t>(Stage::etrn) + 1;

constexpr std::int64_t kSlow = 1'000'000;   // microseconds from which on a filter's delay is logged
constexpr std::size_t kLoggedEdits = 10, kLoggedEdit = 200;

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

std::string_view traffic_name(Traffic traffic) {
  static constexpr std::string_view kNames[] = {"inbound", "authenticated", "local", "null_sender"};
  return kNames[static_cast<std::size_t>(traffic)];
}

Traffic traffic_of(Stage stage, const Context& context) {
  const bool has_sender = stage == Stage::mail || stage == Stage::rcpt || stage == Stage::data || stage == Stage::eom;
  if (has_sender && context.envelope.sender.empty()) return Traffic::null_sender;
  if (!context.session.sasl_username.empty()) return Traffic::authenticated;
  return context.session.is_local ? Traffic::local : Traffic::inbound;
}

void Chain::share(SharedFilters& all, unsigned process) {
  for (const auto& filter : filters_) {
    filter->shared = all.find(filter->name());
    filter->process = process;
  }
}

struct ChainSession::Member {
  std::shared_ptr<Filter> filter;
  std::unique_ptr<FilterSession> session;
  enum class Silence { none, transaction, session } silence = Silence::none;
  std::array<std::uint32_t, kStages> passes{};  // uneventful answers by stage, not yet in the trace
  std::int64_t pass_us = 0;
  Verdict streamed;   // what was said of the content while it arrived
  std::optional<Verdict> standing;   // it refused the session: its answer from then on
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
    Verdict answer = options.failure_action(traffic_of(stage, context));
    if (member.filter->shared != nullptr && !answer.stops() && member.filter->shared->in_grace(options.breaker)) {
      answer = *default_action_verdict("tempfail");
    }
    for (auto& fact : verdict.facts) answer.facts.push_back(std::move(fact));
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
  if (!admitted(member, stage, verdict)) {
    verdict.sticky = session_stage(stage);
  } else if (member.filter->options.shadow) {
    mime::Envelope envelope = context.envelope;
    Context own = copy_for_shadow(context, envelope);
    verdict = member.session->at(stage, own);
  } else {
    verdict = member.session->at(stage, context);
  }
  const std::int64_t latency_us = micros_since(start);
  const std::string failure = verdict.failure;
  settle(member, stage, verdict, context);
  // One that failed says itself what that means for each command; a refusal of the session is for all of them.
  if (session_stage(stage) && verdict.sticky && verdict.refuses() && failure.empty() && !member.filter->options.shadow) {
    member.standing = verdict;
  }
  if (member.filter->shared != nullptr) {
    member.filter->shared->count(verdict, !failure.empty(), member.filter->options.shadow, latency_us);
    judge(member, stage, verdict, !failure.empty());
  }
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
    if (member.standing) {
      if (context.rejected) continue;
      last_filter_ = member.filter->name();
      answer = *member.standing;
      break;
    }
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

Verdict ChainSession::standing(const Context& context) const {
  for (const Member& member : members_) {
    if (member.filter->options.shadow) continue;
    Verdict verdict = member.standing ? *member.standing : member.session->standing(context);
    if (verdict.refuses()) return verdict;
  }
  return {};
}

struct ChainSession::Turned {
  Verdict verdict;
  Journal journal;
  std::int64_t latency_us = 0;
};

// On a fiber of its own when it is one of several.
ChainSession::Turned ChainSession::ask_message(Member& member, Context& context, const mime::Message& message, int spool_directory) {
  Turned turned;
  turned.journal.spool_directory = spool_directory;
  const TimePoint start = SteadyClock::now();
  if (member.streamed.stops() || !member.streamed.failure.empty()) {
    turned.verdict = std::exchange(member.streamed, {});
    return turned;
  }
  if (!admitted(member, Stage::eom, turned.verdict)) return turned;
  Turn turn(context, member.filter->options);
  if (member.filter->options.shadow) {
    mime::Envelope envelope = context.envelope;
    Context own = copy_for_shadow(context, envelope);
    turned.verdict = member.session->message(own, message, turned.journal);
  } else {
    turned.verdict = member.session->message(context, message, turned.journal);
  }
  turned.latency_us = micros_since(start);
  return turned;
}

// Applies its edits and says what it comes to.
Verdict ChainSession::take_message(Member& member, Turned turned, Context& context, mime::Message& message) {
  const bool shadow = member.filter->options.shadow;
  Verdict verdict = std::move(turned.verdict);
  std::vector<std::string> edits;
  if (!turned.journal.empty() && verdict.failure.empty()) {
    edits = describe_edits(turned.journal);
    if (!shadow && !ends_stage(verdict)) {
      if (!signer_.empty() && breaks_signature(turned.journal)) {
        (context.log != nullptr ? *context.log : log_)
            .warning(fmt::format("{}: {} changes the message after {} has signed it: put the signer last", queue_id_, member.filter->name(), signer_));
      }
      if (adds_signature(turned.journal)) signer_ = member.filter->name();
      if (auto done = apply(turned.journal, context.envelope, message, nullptr); !done) {
        verdict = Verdict::fail(member.filter->name() + ": cannot apply its edits: " + done.error().context);
        edits.clear();
      } else {
        edit_log_.insert(edit_log_.end(), edits.begin(), edits.end());
      }
    }
  }
  const std::string failure = verdict.failure;
  settle(member, Stage::eom, verdict, context);
  if (member.filter->shared != nullptr) {
    member.filter->shared->count(verdict, !failure.empty(), shadow, turned.latency_us);
    judge(member, Stage::eom, verdict, !failure.empty());
  }
  if (member.filter->is_remote() && (!edits.empty() || verdict.stops() || turned.latency_us > kSlow)) {
    log_message(member, verdict, edits, turned.latency_us, context);
  }
  if (trace_ == nullptr) return verdict;
  const bool uneventful = verdict.action == Action::proceed && edits.empty() && failure.empty() && verdict.facts.empty() &&
                          verdict.reason_id.empty() && verdict.score == 0;
  if (uneventful) {
    ++member.passes[static_cast<std::size_t>(Stage::eom)];   // ten filters without an opinion cost a line each, not two
    member.pass_us += turned.latency_us;
  } else {
    note(Stage::eom, member, verdict, failure, turned.latency_us, context, std::move(edits));
  }
  return verdict;
}

void ChainSession::log_message(const Member& member, const Verdict& verdict, const std::vector<std::string>& edits,
                               std::int64_t latency_us, const Context& context) const {
  std::string line = fmt::format("{}: filter={}, action={}{}", queue_id_, member.filter->name(), action_name(verdict.action),
                                 member.filter->options.shadow ? " (shadow)" : "");
  if (verdict.code != 0) line += fmt::format(", code={} {}", verdict.code, verdict.enhanced);
  line += fmt::format(", delay={:.4f}", static_cast<double>(latency_us) / 1e6);
  for (std::size_t i = 0; i < edits.size() && i < kLoggedEdits; ++i) {
    line += (i == 0 ? ", edits: " : "; ") + edits[i].substr(0, kLoggedEdit);
  }
  if (edits.size() > kLoggedEdits) line += fmt::format("; and {} more", edits.size() - kLoggedEdits);
  (context.log != nullptr ? *context.log : log_).info(line);
}

Verdict ChainSession::message(Context& context, mime::Message& message, int spool_directory) {
  if (!context.envelope.queue_id.empty()) queue_id_ = context.envelope.queue_id;
  std::vector<Member*> order;
  for (Member& member : members_) {
    if (!silent(member, Stage::eom, context)) order.push_back(&member);
  }
  std::stable_partition(order.begin(), order.end(), [](const Member* member) { return member->session->streams(); });
  Verdict answer;
  bool no_milters = false;
  for (std::size_t from = 0; from < order.size();) {
    std::size_t to = from + 1;
    if (no_milters && order[from]->filter->is_remote()) {
      ++from;
      continue;
    }
    while (to < order.size() && order[from]->filter->options.parallel && order[to]->filter->options.parallel) ++to;
    std::vector<Turned> said(to - from);
    if (to - from == 1) {
      said[0] = ask_message(*order[from], context, message, spool_directory);
    } else {
      ask_together(std::span<Member*>(order).subspan(from, to - from), said, context, message, spool_directory);
    }
    for (std::size_t i = from; i < to; ++i) {
      no_milters = no_milters || (said[i - from].journal.no_milters && !order[i]->filter->options.shadow);
      Verdict verdict = take_message(*order[i], std::move(said[i - from]), context, message);
      if (order[i]->filter->options.shadow || !verdict.stops()) continue;
      if (!ends_stage(verdict) && answer.stops()) continue;
      last_filter_ = order[i]->filter->name();
      answer = std::move(verdict);
      if (ends_stage(answer)) return answer;
    }
    from = to;
  }
  return answer;
}

// Each on a fiber of its own with its own view of the envelope; the last on ours.
void ChainSession::ask_together(std::span<Member*> members, std::vector<Turned>& said, Context& context,
                                const mime::Message& message, int spool_directory) {
  struct Side {
    mime::Envelope envelope;
    net::Event done;
    bool started = false;
  };
  std::vector<std::unique_ptr<Side>> sides;
  const auto run = [&](std::size_t i, mime::Envelope& envelope) {
    Context own = copy_for_shadow(context, envelope);
    said[i] = ask_message(*members[i], own, message, spool_directory);
  };
  for (std::size_t i = 0; i + 1 < members.size(); ++i) {
    Side& side = *sides.emplace_back(std::make_unique<Side>());
    side.envelope = context.envelope;
    side.started = net::Loop::current().spawn(net::Stack::session, [&run, &side, i] {
      run(i, side.envelope);
      side.done.set();
    }).has_value();
    if (!side.started) run(i, side.envelope);
  }
  mime::Envelope last = context.envelope;
  run(members.size() - 1, last);
  // They use what is ours: there is no leaving before them, also when we are canceled (so are they).
  for (const auto& side : sides) {
    // The worker's wait gives them their turn even now.
    while (side->started && !side->done.wait(Deadline::never())) net::offload([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  }
}

bool ChainSession::streams() const {
  return std::any_of(members_.begin(), members_.end(), [](const Member& member) {
    return member.silence == Member::Silence::none && member.session->streams();
  });
}

template <typename Call>
void ChainSession::stream(Context& context, Call call) {
  if (!context.envelope.queue_id.empty()) queue_id_ = context.envelope.queue_id;
  for (Member& member : members_) {
    if (silent(member, Stage::eom, context) || !member.session->streams()) continue;
    if (member.streamed.stops() || !member.streamed.failure.empty()) continue;
    Turn turn(context, member.filter->options);
    if (admitted(member, Stage::eom, member.streamed)) member.streamed = call(*member.session);
  }
}

void ChainSession::stream_headers(Context& context, const std::vector<mime::Header>& headers) {
  stream(context, [&](FilterSession& session) { return session.stream_headers(context, headers); });
}

void ChainSession::stream_body(Context& context, std::string_view bytes) {
  stream(context, [&](FilterSession& session) { return session.stream_body(context, bytes); });
}

// --- the circuit breaker ------------------------------------------------------------------------

bool ChainSession::admitted(Member& member, Stage, Verdict& verdict) {
  SharedFilter* const shared = member.filter->shared;
  if (shared == nullptr || shared->admits(member.filter->options.breaker)) return true;
  if (!member.session->works()) return true;   // it will say so itself
  verdict = Verdict::fail(member.filter->name() + ": not asked, its circuit breaker is open");
  verdict.facts.emplace_back("breaker", "open");
  return false;
}

void ChainSession::judge(Member& member, Stage stage, const Verdict& verdict, bool failed) {
  const BreakerRule& rule = member.filter->options.breaker;
  if (rule.failures == 0) return;
  SharedFilter& shared = *member.filter->shared;
  if (!failed) {
    if (member.session->works()) shared.succeeded(rule);
    return;
  }
  for (const auto& [name, value] : verdict.facts) {
    if (name == "breaker") return;   // nobody was asked
  }
  if (stage == Stage::eom && !verdict.stops()) return;   // the content of one message opens no door
  const bool was_open = shared.is_open();
  shared.failed(rule);
  if (!was_open && shared.is_open()) log_.warning(member.filter->name() + ": circuit breaker opened");
}

void ChainSession::abort() {
  for (Member& member : members_) {
    member.session->abort();
    member.streamed = {};
    if (member.silence == Member::Silence::transaction) member.silence = Member::Silence::none;
  }
  note_passes();
  in_transaction_ = false;
  queue_id_.clear();
  signer_.clear();
  edit_log_.clear();
}

void ChainSession::close() {
  for (Member& member : members_) member.session->close();
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
  if (in_transaction_) line.sender = context.envelope.sender.empty() ? "<>" : context.envelope.sender;
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
