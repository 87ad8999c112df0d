// Calls of a plugin: see filter.h, and call.h for how the two sides meet.
#include "core/plugin/filter.h"

#include <algorithm>
#include <utility>

#include "core/base/coarse_clock.h"
#include "core/base/strings.h"
#include "core/net/nested.h"
#include "core/plugin/call.h"

namespace millrace::plugin {

void Call::renew(mr_handle fresh) {
  handle = fresh;
  if (!is_silent) verdict = {};
  alive.store(false, std::memory_order_release);
  answered = is_silent = returned_pending = misbehaved = spoiled = false;
  layout.reset();
  canonicalizer = {};
  body_octets = 0;
  if (!arena.empty()) arena.clear();
  if (!records.empty()) records.clear();
  prepend.clear();
  auth_results.clear();
  if (notify) notify = nullptr;
  mime.reset();
  restriction = nullptr;
  attributes.clear();
  open_ends = 2;
}

bool may_read_body(Call& call) {
  if (call.instance->descriptor().body_need == MR_BODY_WHOLE) return true;
  if (!std::exchange(call.misbehaved, true)) call.instance->misbehaving("it reads the body, which it did not declare");
  return false;
}

namespace {

using filter::Context;
using filter::Stage;
using filter::Verdict;

constexpr auto kAbortBudget = std::chrono::seconds(5);

std::uint32_t stage_bit(Stage stage) {
  switch (stage) {
    case Stage::connect: return MR_STAGE_CONNECT;
    case Stage::helo: return MR_STAGE_HELO;
    case Stage::mail: return MR_STAGE_MAIL;
    case Stage::rcpt: return MR_STAGE_RCPT;
    case Stage::data: return MR_STAGE_DATA;
    case Stage::unknown: return MR_STAGE_UNKNOWN;
    default: return 0;
  }
}

// The call is over for both sides: its handle dies, or waits for a late complete().
void finish_call(const std::shared_ptr<Call>& call, bool on_plugin_fiber) {
  const std::shared_ptr<Instance> keep = call->instance;
  Instance& instance = *keep;
  instance.gate().leave();
  bool waits;
  {
    const std::lock_guard lock(call->mutex);
    waits = call->returned_pending && !call->answered;
  }
  const mr_handle handle = call->handle;   // nobody gives it another one any more
  if (!waits) return instance.calls.remove(handle);
  if (!MR_HAS(mr_filter, &instance.filter(), cancel) || instance.filter().cancel == nullptr) {
    call->instance.reset();   // it waits in the table of the instance, which it must not keep alive
    call->session.reset();
    return;
  }
  const auto cancel = [call, handle] {
    const mr_filter& filter = call->instance->filter();
    const net::LoopHolder holder(call->instance->label().c_str());
    filter.cancel(filter.self, handle);
    call->instance->calls.remove(handle);
  };
  if (on_plugin_fiber || !net::run_nested(net::Stack::plugin, cancel)) cancel();
}

void end(const std::shared_ptr<Call>& call, bool on_plugin_fiber) {
  if (--call->open_ends == 0) finish_call(call, on_plugin_fiber);
}

// The last call for a session. Nobody waits, nothing can be asked any more.
void deliver_close(const std::shared_ptr<Instance>& instance, const std::shared_ptr<SessionState>& state) {
  if (instance->declares(MR_STAGE_CLOSE)) {
    mr_event event{};
    event.struct_size = sizeof event;
    event.stage = MR_STAGE_CLOSE;
    event.session = state->handle;
    event.session_data = &state->data;
    mr_verdict ignored{};
    ignored.struct_size = sizeof ignored;
    try {
      (void)instance->filter().on_stage(instance->filter().self, &event, &ignored);
    } catch (...) {
      instance->misbehaving("an exception left it");
    }
  }
  instance->sessions.remove(state->handle);
}

std::int32_t invoke(Call& call, const mr_event& event, mr_verdict& verdict, mr_string& action) {
  const mr_filter& filter = call.instance->filter();
  try {
    if (call.restriction != nullptr) {
      return call.restriction->check(filter.self, &event, call.attributes.data(), call.attributes.size(), &action);
    }
    return filter.on_stage(filter.self, &event, &verdict);
  } catch (...) {   // no fiber waits in here
    call.instance->misbehaving("an exception left it");
    return MR_E_FAILED;
  }
}

// What a restriction answered: an access(5) action, carried as the verdict's text.
Result<Verdict> to_action(mr_string action) {
  constexpr std::size_t kMaxAction = 2000;
  const auto text = to_view(action, kMaxAction);
  if (!text || printable(*text) != *text) return fail(Errc::protocol, "an action without data, too long, or with control characters");
  Verdict verdict;
  verdict.text = *text;
  return verdict;
}

// Most answers say nothing.
bool is_silent(const mr_verdict& given) {
  return given.struct_size == sizeof given && given.action == MR_CONTINUE && given.smtp_code == 0 && given.flags == 0 &&
         given.enhanced.size == 0 && given.text.size == 0 && given.reason_id.size == 0 && given.score == 0 && given.fact_count == 0;
}

// What came back from the plugin's function. [mutex]
void judge(Call& call) {
  Instance& instance = *call.instance;
  const std::int32_t rc = call.rc;
  if (rc == MR_PENDING && call.restriction == nullptr) {
    call.returned_pending = true;
  } else if (call.answered) {
    instance.misbehaving("complete() and a return that is not MR_PENDING");
  } else if (!call.alive) {
    ++instance.counters().late;
  } else if (is_over(call.deadline)) {
    ++instance.counters().late;
    call.answer(Verdict::fail(instance.label() + ": no answer in time"));
  } else if (rc == MR_DONE && call.restriction == nullptr && is_silent(call.given)) {
    call.answer_nothing();
  } else if (rc == MR_DONE) {
    const bool utf8 = call.context != nullptr && call.context->envelope.smtputf8;
    auto checked = call.restriction != nullptr ? to_action(call.action) : to_verdict(&call.given, call.stage, utf8);
    if (!checked) instance.misbehaving(checked.error().context);
    call.answer(checked ? std::move(*checked) : Verdict::fail(instance.label() + ": " + checked.error().context));
  } else {
    if (rc > 0) instance.misbehaving("on_stage returned " + std::to_string(rc));
    call.answer(Verdict::fail(instance.label() + ": failed with " + std::to_string(rc)));
  }
}

// On the plugin's fiber.
void run_stage(Call& call) {
  Instance& instance = *call.instance;
  static constexpr mr_verdict kUnsaid{sizeof(mr_verdict), 0, 0, 0, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}, 0, nullptr, 0};
  call.given = kUnsaid;
  call.action = {nullptr, 0};
  if ((instance.descriptor().traits & MR_TRAIT_BLOCKS) != 0) {
    call.rc = net::offload([&] { return invoke(call, call.event, call.given, call.action); });
  } else {
    const net::LoopHolder holder(instance.label().c_str());
    Call* const outer = std::exchange(running_call, &call);
    call.rc = invoke(call, call.event, call.given, call.action);
    running_call = outer;
  }
  if (!call.asker_judges) {
    const std::lock_guard lock(call.mutex);
    judge(call);
  }
  const std::shared_ptr<Call> kept = std::move(call.itself);   // nullptr: the asker holds it still, and ends it
  call.session->busy = false;
  if (call.session->closing) deliver_close(call.instance, call.session);
  if (kept) end(kept, true);
  else --call.open_ends;
}

class PluginFilter final : public filter::Filter {
 public:
  PluginFilter(std::shared_ptr<Instance> instance, std::string name, filter::Options given)
      : instance_(std::move(instance)), name_(std::move(name)) {
    options = std::move(given);
  }
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts& facts) override;
  const std::string& name() const override { return name_; }
  const std::shared_ptr<Instance>& instance() const { return instance_; }

 private:
  std::shared_ptr<Instance> instance_;
  std::string name_;
};

// What a restriction is asked.
struct Question {
  const mr_restriction_1* table;
  const std::vector<std::pair<std::string, std::string>>& attributes;
};

class PluginSession final : public filter::FilterSession {
 public:
  explicit PluginSession(std::shared_ptr<Instance> instance)
      : instance_(std::move(instance)), state_(std::make_shared<SessionState>()) {}
  ~PluginSession() override;

  Verdict at(Stage stage, Context& context) override {
    const std::uint32_t bit = stage_bit(stage);
    if (bit == 0 || !instance_->declares(bit)) return {};
    return ask(bit, &context, nullptr, nullptr, context.deadline);
  }
  Verdict message(Context& context, const mime::Message& message, filter::Journal& journal) override {
    if (!instance_->declares(MR_STAGE_MESSAGE)) return {};
    return ask(MR_STAGE_MESSAGE, &context, &message, &journal, context.deadline);
  }
  void abort() override {
    if (!instance_->declares(MR_STAGE_ABORT) || !state_->touched) return;
    (void)ask(MR_STAGE_ABORT, nullptr, nullptr, nullptr, Deadline::after(kAbortBudget));
  }
  Verdict ask(std::uint32_t stage, Context* context, const mime::Message* message, filter::Journal* journal,
              Deadline deadline, const Question* question = nullptr);

 private:
  Verdict collect(Call& call, filter::Journal* journal, bool in_time);
  void contribute(Call& call, Context& context, const mime::Message* message, filter::Journal* journal);
  void fill_event(Call& call, const Context* context);
  std::shared_ptr<Call> take_call();
  void give_back(std::shared_ptr<Call> call, std::unique_lock<std::mutex> lock);
  bool wait_for_answer(Call& call, std::unique_lock<std::mutex>& lock, Deadline deadline);
  Verdict failed(std::string_view what) {
    ++instance_->counters().failures;
    return Verdict::fail(instance_->label() + ": " + std::string(what));
  }

  std::shared_ptr<Instance> instance_;
  std::shared_ptr<SessionState> state_;
  std::shared_ptr<Call> spare_;         // for the next call
  Call* current_ = nullptr;             // that the session's facts are asked of; only compared
};

std::unique_ptr<filter::FilterSession> PluginFilter::open(const filter::SessionFacts&) {
  return std::make_unique<PluginSession>(instance_);
}

PluginSession::~PluginSession() {
  if (spare_) instance_->calls.remove(spare_->handle);
  if (!state_->touched) return;
  if (state_->busy) {
    state_->closing = true;   // the call that is under way closes when it returns
    return;
  }
  net::Loop* const loop = net::Loop::current_or_null();
  const auto close = [instance = instance_, state = state_] { deliver_close(instance, state); };
  // Foreign code gets a stack of its own, and a destructor must not wait for it.
  if (loop == nullptr || !net::run_nested(net::Stack::plugin, close)) close();
}

// Copies: a call may outlive the command it is about.
void PluginSession::fill_event(Call& call, const Context* context) {
  mr_event& event = call.event;
  const auto deadline_ns = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(call.deadline.at.time_since_epoch()).count());
  event = {sizeof event, call.stage, call.handle, state_->handle, message_handle(call.handle), deadline_ns, &state_->data,
           {nullptr, 0}, {nullptr, 0}, nullptr, 0};
  if (context == nullptr) return;
  std::size_t size = context->typed.size() + context->command.size();
  for (const std::string_view parameter : context->parameters) size += parameter.size();
  call.typed.clear();
  call.typed.reserve(size);   // it does not move any more
  const auto copy = [&](std::string_view text) {
    const char* const at = call.typed.data() + call.typed.size();
    call.typed.append(text);
    return mr_string{at, text.size()};
  };
  event.argument = copy(context->typed);
  event.command = copy(context->command);
  if (context->parameters.empty()) return;
  call.parameters.clear();
  for (const std::string_view parameter : context->parameters) call.parameters.push_back(copy(parameter));
  event.parameters = call.parameters.data();
  event.parameter_count = call.parameters.size();
}

// The session's own Call where it is free, else another.
std::shared_ptr<Call> PluginSession::take_call() {
  if (spare_) return std::exchange(spare_, nullptr);
  auto call = std::make_shared<Call>();
  call->instance = instance_;
  call->session = state_;
  call->handle = instance_->calls.add(call);
  return call;
}

// The plugin has returned and answered: nothing of the call is used any more.
void PluginSession::give_back(std::shared_ptr<Call> call, std::unique_lock<std::mutex> lock) {
  instance_->gate().leave();
  const mr_handle fresh = instance_->calls.renew(call->handle);
  if (fresh != 0) call->renew(fresh);
  lock.unlock();
  if (fresh != 0) spare_ = std::move(call);
  else instance_->calls.remove(call->handle);
}

Verdict PluginSession::ask(std::uint32_t stage, Context* context, const mime::Message* message,
                           filter::Journal* journal, Deadline deadline, const Question* question) {
  if (state_->busy) return failed("still busy with an earlier call");
  if (!instance_->gate().enter(deadline)) return failed("no free place among its calls");
  auto& calls = instance_->counters().calls;   // counted here alone
  calls.store(calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (state_->handle == 0) state_->handle = instance_->sessions.add(state_);
  state_->touched = true;

  std::shared_ptr<Call> call = take_call();
  call->stage = stage;
  call->deadline = deadline;
  call->context = context;
  call->message = message;
  call->journal = journal;
  call->asker_judges = true;
  call->alive.store(true, std::memory_order_release);
  if (current_ != call.get()) {
    const std::lock_guard lock(state_->mutex);
    state_->current = call;
    current_ = call.get();
  }
  fill_event(*call, context);
  if (question != nullptr) {
    call->restriction = question->table;
    for (const auto& [name, value] : question->attributes) call->attributes.push_back({call->keep(name), call->keep(value)});
  }
  state_->busy = true;
  const auto ran = net::run_nested(net::Stack::plugin, [raw = call.get()] { run_stage(*raw); });
  if (!ran) {
    state_->busy = false;
    call->open_ends = 1;
    {
      const std::lock_guard lock(call->mutex);
      call->alive = false;
    }
    end(call, false);
    return failed("no stack for it");
  }
  if (!*ran) call->itself = call;   // it goes on by itself
  call->asker_judges = false;
  std::unique_lock lock(call->mutex);
  if (*ran) judge(*call);
  const bool in_time = call->answered || wait_for_answer(*call, lock, deadline);
  Verdict verdict = collect(*call, journal, in_time);
  if (context != nullptr && verdict.failure.empty()) contribute(*call, *context, message, journal);
  if (call->open_ends == 1 && in_time) {
    give_back(std::move(call), std::move(lock));
  } else {
    lock.unlock();
    end(call, false);
  }
  return verdict;
}

// False: no answer in time.  It waits without the lock.
bool PluginSession::wait_for_answer(Call& call, std::unique_lock<std::mutex>& lock, Deadline deadline) {
  net::Event answered;
  call.notify = answered.notifier();
  lock.unlock();
  const bool in_time = answered.wait(deadline).has_value();
  lock.lock();
  return in_time;
}

// Under the call's lock.
Verdict PluginSession::collect(Call& call, filter::Journal* journal, bool in_time) {
  call.alive.store(false, std::memory_order_release);
  call.context = nullptr;
  call.message = nullptr;
  call.journal = nullptr;
  if (!call.answered) {
    if (journal != nullptr) journal->clear();
    return failed(in_time ? "woken without an answer" : "no answer in time");
  }
  if (call.is_silent && journal == nullptr) {
    Verdict nothing;   // not {}, which clears it with a slow instruction first
    return nothing;
  }
  if (!call.verdict.failure.empty()) ++instance_->counters().failures;
  if (journal != nullptr) {
    if (call.spoiled) {
      journal->clear();
      return failed("its replacement body could not be kept");
    }
    std::string rest;
    call.canonicalizer.finish(rest);
    if (!rest.empty() && !journal->append_body(rest)) {
      journal->clear();
      return failed("its replacement body could not be kept");
    }
  }
  return std::move(call.verdict);
}

// Fields it gave before the message, and its share of the Authentication-Results field.  Nobody else looks at
// these any more: the call is not alive.
void PluginSession::contribute(Call& call, Context& context, const mime::Message* message, filter::Journal* journal) {
  if (!call.auth_results.empty()) {
    constexpr std::string_view kName = "Authentication-Results";
    const std::string start = instance_->host().authserv_id + ";";
    std::string said;
    for (const std::string& one : call.auth_results) said += (said.empty() ? "\n\t" : ";\n\t") + one;
    if (journal != nullptr) {
      // A field of that name above our own Received is one of ours; a client's stands below it.
      const mime::Header* ours = nullptr;
      for (const mime::Header& header : message->headers) {
        if (header.own_received) break;
        if (iequals(header.name(), kName) && header.milter_value(false).starts_with(start)) ours = &header;
        if (ours != nullptr) break;
      }
      const bool has_own = std::any_of(message->headers.begin(), message->headers.end(),
                                       [](const mime::Header& header) { return header.own_received; });
      if (ours != nullptr && has_own && ours == message->find(kName) && (!call.layout || call.layout->locate(kName, 1) == 1)) {
        journal->add({filter::Edit::Kind::change_header, 1, std::string(kName), ours->milter_value(false) + ";" + said});
      } else {
        journal->add({filter::Edit::Kind::insert_header, 0, std::string(kName), start + said});
      }
    } else {
      const std::string whole = std::string(kName) + ": " + start;
      const auto ours = std::find_if(context.prepend.begin(), context.prepend.end(),
                                     [&](const std::string& field) { return field.starts_with(whole); });
      if (ours != context.prepend.end()) *ours += ";" + said;
      else context.prepend.push_back(whole + said);
    }
  }
  for (std::string& field : call.prepend) context.prepend.push_back(std::move(field));
}

}  // namespace

const mr_descriptor* descriptor_of(const filter::Filter& filter) {
  const auto* const plugin = dynamic_cast<const PluginFilter*>(&filter);
  return plugin == nullptr ? nullptr : &plugin->instance()->descriptor();
}

std::shared_ptr<Instance> instance_of(const filter::Filter& filter) {
  const auto* const plugin = dynamic_cast<const PluginFilter*>(&filter);
  return plugin == nullptr ? nullptr : plugin->instance();
}

bool edits_headers(const filter::Filter& filter) {
  const mr_descriptor* const descriptor = descriptor_of(filter);
  return descriptor != nullptr && (descriptor->edits & MR_EDIT_HEADERS) != 0;
}

Result<std::shared_ptr<Restriction>> Restriction::make(std::shared_ptr<Instance> instance, filter::Options options) {
  const mr_filter& filter = instance->filter();
  const void* offered = nullptr;
  if (MR_HAS(mr_filter, &filter, get_interface) && filter.get_interface != nullptr) {
    offered = filter.get_interface(filter.self, "mr.restriction/1");
  }
  const auto* const table = static_cast<const mr_restriction_1*>(offered);
  if (!MR_HAS(mr_restriction_1, table, check) || table->check == nullptr) {
    return fail(Errc::config, instance->label() + " offers no restriction (mr.restriction/1)");
  }
  auto restriction = std::make_shared<Restriction>();
  restriction->instance_ = std::move(instance);
  restriction->options_ = std::move(options);
  restriction->table_ = table;
  return restriction;
}

Result<std::string> Restriction::ask(const std::vector<std::pair<std::string, std::string>>& attributes, Context& context) {
  std::uint32_t stage = MR_STAGE_CONNECT;
  if (context.rcpt != nullptr) stage = MR_STAGE_RCPT;
  else if (istarts_with(context.command, "MAIL")) stage = MR_STAGE_MAIL;
  else if (istarts_with(context.command, "DATA") || istarts_with(context.command, "BDAT")) stage = MR_STAGE_DATA;
  else if (istarts_with(context.command, "HELO") || istarts_with(context.command, "EHLO")) stage = MR_STAGE_HELO;
  const Question question{table_, attributes};
  PluginSession session(instance_);
  const Deadline deadline = context.deadline.earlier(Deadline::after(options_.timeout));
  Verdict verdict = session.ask(stage, &context, nullptr, nullptr, deadline, &question);
  if (!verdict.failure.empty()) return fail(Errc::temporary, std::move(verdict.failure));
  return std::move(verdict.text);
}

std::shared_ptr<filter::Filter> make_plugin_filter(std::shared_ptr<Instance> instance, std::string name,
                                                   filter::Options options) {
  return std::make_shared<PluginFilter>(std::move(instance), std::move(name), std::move(options));
}

}  // namespace millrace::plugin
