// Calls of a plugin: see filter.h, and call.h for how the two sides meet.
#include "core/plugin/filter.h"

#include <algorithm>
#include <utility>

#include "core/base/strings.h"
#include "core/plugin/call.h"

namespace millrace::plugin {
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

// The call is over for both sides: its handles die, or wait for a late complete().
void finish_call(const std::shared_ptr<Call>& call, bool on_plugin_fiber) {
  const std::shared_ptr<Instance> keep = call->instance;
  Instance& instance = *keep;
  instance.gate().leave();
  bool waits;
  {
    const std::lock_guard lock(call->mutex);
    waits = call->returned_pending && !call->answered;
  }
  const auto forget = [call] {
    call->instance->calls.remove(call->handle);
    call->instance->messages.remove(call->message_handle);
  };
  if (!waits) return forget();
  if (!MR_HAS(mr_filter, &instance.filter(), cancel) || instance.filter().cancel == nullptr) {
    call->instance.reset();   // it waits in the tables of the instance, which it must not keep alive
    call->session.reset();
    return;
  }
  const auto cancel = [call, forget] {
    const mr_filter& filter = call->instance->filter();
    const net::LoopHolder holder(call->instance->label().c_str());
    filter.cancel(filter.self, call->handle);
    forget();
  };
  if (on_plugin_fiber || !net::Loop::current().spawn(net::Stack::plugin, cancel)) cancel();
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

// On the plugin's fiber.
void run_stage(const std::shared_ptr<Call>& call, mr_event event) {
  Instance& instance = *call->instance;
  mr_verdict given{};
  given.struct_size = sizeof given;
  mr_string action{nullptr, 0};
  std::int32_t rc;
  if ((instance.descriptor().traits & MR_TRAIT_BLOCKS) != 0) {
    rc = net::offload([&] { return invoke(*call, event, given, action); });
  } else {
    const net::LoopHolder holder(instance.label().c_str());
    running_call = call.get();
    rc = invoke(*call, event, given, action);
    running_call = nullptr;
  }
  {
    const std::lock_guard lock(call->mutex);
    const bool utf8 = call->alive && call->context != nullptr && call->context->envelope.smtputf8;
    if (rc == MR_PENDING && call->restriction == nullptr) {
      call->returned_pending = true;
    } else if (call->answered) {
      instance.misbehaving("complete() and a return that is not MR_PENDING");
    } else if (!call->alive) {
      ++instance.counters().late;
    } else if (call->deadline.passed()) {
      ++instance.counters().late;
      call->answer(Verdict::fail(instance.label() + ": no answer in time"));
    } else if (rc == MR_DONE) {
      auto checked = call->restriction != nullptr ? to_action(action) : to_verdict(&given, call->stage, utf8);
      if (!checked) instance.misbehaving(checked.error().context);
      call->answer(checked ? std::move(*checked) : Verdict::fail(instance.label() + ": " + checked.error().context));
    } else {
      if (rc > 0) instance.misbehaving("on_stage returned " + std::to_string(rc));
      call->answer(Verdict::fail(instance.label() + ": failed with " + std::to_string(rc)));
    }
  }
  call->session->busy = false;
  if (call->session->closing) deliver_close(call->instance, call->session);
  end(call, true);
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
  PluginSession(std::shared_ptr<Instance> instance, std::chrono::milliseconds timeout)
      : instance_(std::move(instance)), timeout_(timeout), state_(std::make_shared<SessionState>()) {}
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
  mr_event make_event(Call& call, const Context* context);
  Verdict failed(std::string_view what) {
    ++instance_->counters().failures;
    return Verdict::fail(instance_->label() + ": " + std::string(what));
  }

  std::shared_ptr<Instance> instance_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<SessionState> state_;
};

std::unique_ptr<filter::FilterSession> PluginFilter::open(const filter::SessionFacts&) {
  return std::make_unique<PluginSession>(instance_, options.timeout);
}

PluginSession::~PluginSession() {
  if (!state_->touched) return;
  if (state_->busy) {
    state_->closing = true;   // the call that is under way closes when it returns
    return;
  }
  net::Loop* const loop = net::Loop::current_or_null();
  const auto close = [instance = instance_, state = state_] { deliver_close(instance, state); };
  // Foreign code gets a stack of its own, and a destructor must not wait for it.
  if (loop == nullptr || !loop->spawn(net::Stack::plugin, close)) close();
}

mr_event PluginSession::make_event(Call& call, const Context* context) {
  mr_event event{};
  event.struct_size = sizeof event;
  event.stage = call.stage;
  event.call = call.handle;
  event.session = state_->handle;
  event.message = call.message_handle;
  event.deadline_ns = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(call.deadline.at.time_since_epoch()).count());
  event.session_data = &state_->data;
  if (context == nullptr) return event;
  // Copies: a call may outlive the command it is about.
  event.argument = call.keep(std::string(context->typed));
  event.command = call.keep(std::string(context->command));
  if (!context->parameters.empty()) {
    const auto list = std::make_shared<std::vector<mr_string>>();
    for (const std::string_view parameter : context->parameters) list->push_back(call.keep(std::string(parameter)));
    call.parameters = list;
    event.parameters = list->data();
    event.parameter_count = list->size();
  }
  return event;
}

Verdict PluginSession::ask(std::uint32_t stage, Context* context, const mime::Message* message,
                           filter::Journal* journal, Deadline deadline, const Question* question) {
  if (state_->busy) return failed("still busy with an earlier call");
  deadline = deadline.earlier(Deadline::after(timeout_));
  if (!instance_->gate().enter(deadline)) return failed("no free place among its calls");
  ++instance_->counters().calls;
  if (state_->handle == 0) state_->handle = instance_->sessions.add(state_);
  state_->touched = true;

  const auto call = std::make_shared<Call>();
  call->instance = instance_;
  call->session = state_;
  call->stage = stage;
  call->deadline = deadline;
  call->context = context;
  call->message = message;
  call->journal = journal;
  net::Event answered;
  call->notify = answered.notifier();
  call->handle = instance_->calls.add(call);
  call->message_handle = instance_->messages.add(call);
  {
    const std::lock_guard lock(state_->mutex);
    state_->current = call;
  }
  const mr_event event = make_event(*call, context);
  if (question != nullptr) {
    call->restriction = question->table;
    for (const auto& [name, value] : question->attributes) call->attributes.push_back({call->keep(name), call->keep(value)});
  }
  state_->busy = true;
  if (!net::Loop::current().spawn(net::Stack::plugin, [call, event] { run_stage(call, event); })) {
    state_->busy = false;
    call->open_ends = 1;
    { const std::lock_guard lock(call->mutex); call->alive = false; }
    end(call, false);
    return failed("no stack for it");
  }
  const bool in_time = answered.wait(deadline).has_value();
  Verdict verdict = collect(*call, journal, in_time);
  if (context != nullptr && verdict.failure.empty()) contribute(*call, *context, message, journal);
  end(call, false);
  return verdict;
}

Verdict PluginSession::collect(Call& call, filter::Journal* journal, bool in_time) {
  const std::lock_guard lock(call.mutex);
  call.alive = false;
  call.context = nullptr;
  call.message = nullptr;
  call.journal = nullptr;
  if (!call.answered) {
    if (journal != nullptr) journal->clear();
    return failed(in_time ? "woken without an answer" : "no answer in time");
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
  PluginSession session(instance_, options_.timeout);
  Verdict verdict = session.ask(stage, &context, nullptr, nullptr, context.deadline, &question);
  if (!verdict.failure.empty()) return fail(Errc::temporary, std::move(verdict.failure));
  return std::move(verdict.text);
}

std::shared_ptr<filter::Filter> make_plugin_filter(std::shared_ptr<Instance> instance, std::string name,
                                                   filter::Options options) {
  return std::make_shared<PluginFilter>(std::move(instance), std::move(name), std::move(options));
}

}  // namespace millrace::plugin
