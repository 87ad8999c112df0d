#include "core/daemon/queue_role.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/strings.h"
#include "core/daemon/channel.h"
#include "core/daemon/metrics.h"
#include "core/daemon/unsmtp_filters.h"
#include "core/daemon/command_client.h"
#include "core/daemon/tables.h"
#include "core/deliver/engine.h"
#include "core/kv/store.h"
#include "core/local/local_agent.h"
#include "core/mime/builder.h"
#include "core/local/pipe_agent.h"
#include "core/plugin/offers.h"
#include "core/queue/paths.h"
#include "core/net/fiber.h"
#include "core/queue/control.h"
#include "core/queue/server.h"
#include "core/queue/store.h"
#include "core/submit/users.h"

namespace millrace::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kStopDeliveries{1200};   // deliveries end by themselves for this long at stop
constexpr seconds kDrainDeliveries{30};         // and at reload, while the next process waits for the store

// The store of a process that may have to wait for it: the engine is made, and the configuration proved,
// while the queue process before still has the queue open.
class LateStore final : public queue::Store {
 public:
  void set(std::unique_ptr<queue::Store> store) { real_ = std::move(store); }
  Result<void> add(queue::Entry entry, std::string content, int content_fd) override {
    return real_->add(std::move(entry), std::move(content), content_fd);
  }
  void add_async(const queue::Entry& entry, std::shared_ptr<const std::string> content, Done done) override {
    real_->add_async(entry, std::move(content), std::move(done));
  }
  Result<std::uint64_t> reserve_ids(std::uint64_t count) override { return real_->reserve_ids(count); }
  Result<void> mark_in_flight(std::span<const std::string> queue_ids) override { return real_->mark_in_flight(queue_ids); }
  Result<void> apply(queue::Update update) override { return real_->apply(std::move(update)); }
  void apply_later(queue::Update update) override { real_->apply_later(std::move(update)); }
  Result<queue::Entry> load(const std::string& queue_id) override { return real_->load(queue_id); }
  Result<queue::Content> open_content(const std::string& queue_id) override { return real_->open_content(queue_id); }
  Result<void> for_each(const std::function<bool(const queue::Summary&)>& each) override { return real_->for_each(each); }
  void set_corrupt(const std::string& queue_id, const std::string& why) override { real_->set_corrupt(queue_id, why); }
  Result<void> commit_pending() override { return real_->commit_pending(); }
  bool failed() const override { return real_->failed(); }
  std::uint64_t syncs() const override { return real_->syncs(); }
  Result<void> close() override { return real_ ? real_->close() : Result<void>(); }

 private:
  std::unique_ptr<queue::Store> real_;
};

class QueueRole {
 public:
  QueueRole(const Setup& setup, int channel, int commands)
      : setup_(setup), channel_(channel, setup.log_options.fd), commands_(commands), log_(logger_for(*setup.config, "qmgr")) {}

  bool prepare() {
    config::Findings findings;
    build(findings);
    channel_.report(findings);
    return !findings.has_errors();
  }
  int serve();

 private:
  void build(config::Findings& findings);
  Result<std::unique_ptr<deliver::Agent>> make_agent(const config::Service& service, const log::Logger& log);
  void command(std::string_view word);
  void go();
  void stop(Deadline deadline);
  Result<bool> inspect(queue::Entry& notice, std::string& content, bool to_postmaster) const;
  void open_state();
  void give_up(const std::string& why);

  const Setup& setup_;
  Channel channel_;
  CommandClient commands_;
  log::Logger log_;
  net::Loop loop_;
  std::unique_ptr<net::Resolver> resolver_;
  std::shared_ptr<plugin::TableSource> plugin_tables_;
  std::unique_ptr<map::TableSet> tables_;
  std::shared_ptr<rewrite::Router> router_;
  std::shared_ptr<local::Forwarder> forwarder_;
  LateStore store_;
  std::shared_ptr<kv::Store> state_;
  std::unique_ptr<deliver::Engine> engine_;
  std::unique_ptr<queue::Server> server_;
  std::unique_ptr<queue::ControlServer> control_;
  std::shared_ptr<UnsmtpFilters> filters_;       // of our own notices
  std::unique_ptr<MetricsServer> metrics_;
  submit::UserList mailq_users_, flush_users_;
  bool running_ = false, stopping_ = false;
  int status_ = 0;
};

void QueueRole::build(config::Findings& findings) {
  resolver_ = net::make_resolver();
  plugin_tables_ = std::make_shared<plugin::TableSource>(setup_.config->params().plugin_directory, log_);
  plugin_tables_->use();
  tables_ = std::make_unique<map::TableSet>(table_options(*setup_.config, setup_.owner, log_));
  auto router = rewrite::Router::make(setup_.config, setup_.config->params(), *tables_);
  if (!router) return report_error(findings, *setup_.config, "address routing", router.error());
  router_ = std::move(*router);
  // As a process of its own among those that count connections.
  const unsigned process = static_cast<unsigned>(filter::kSharedProcesses) - 2 + setup_.generation % 2;
  filters_ = UnsmtpFilters::make(setup_.config, *tables_, findings, &setup_.shared->filters, process);
  const std::string spool = queue::store_directory(setup_.config->params().queue_directory);
  auto cleanup = rewrite::Cleanup::make(setup_.config->params(), router_, *tables_);
  if (!cleanup) return report_error(findings, *setup_.config, "address rewriting", cleanup.error());
  forwarder_ = std::make_shared<local::Forwarder>(*setup_.config, store_, *cleanup, spool,
                                                  [this](queue::Entry entry, std::shared_ptr<const std::string> content) {
                                                    engine_->stored(std::move(entry), std::move(content));
                                                  });
  for (const config::Service& service : setup_.config->services()) {   // agents are made when they are needed
    if (service.type != "unix") continue;
    if (const auto made = make_agent(service, log_); !made) {
      findings.error(service.where, service.name, made.error().context);
    }
  }
  auto engine = deliver::Engine::make(setup_.config, store_, router_, *resolver_, *tables_,
                                      [this](const config::Service& service, const log::Logger& log) { return make_agent(service, log); },
                                      [this](queue::Entry& notice, std::string& content, bool to_postmaster) {
                                        return inspect(notice, content, to_postmaster);
                                      });
  if (!engine) return report_error(findings, *setup_.config, "delivery", engine.error());
  engine_ = std::move(*engine);
  const auto users = [&](const char* name, submit::UserList& list) {
    auto made = submit::UserList::make(*tables_, setup_.config->value(name).value_or(""));
    if (made) list = std::move(*made);
    else findings.error(setup_.config->where(name), name, made.error().context);
  };
  users("authorized_mailq_users", mailq_users_);
  users("authorized_flush_users", flush_users_);
  if (auto changed = become(setup_.owner); !changed) findings.error({}, "mail_owner", changed.error().context);
}

// Agents whose work is done with other rights than ours.
Result<std::unique_ptr<deliver::Agent>> QueueRole::make_agent(const config::Service& service, const log::Logger& log) {
  const std::string spool = queue::store_directory(setup_.config->params().queue_directory);
  if (service.command == "pipe") return local::make_pipe_agent(*setup_.config, service, spool, commands_, log);
  local::LocalParts parts;
  parts.config = setup_.config.get();
  parts.service = &service;
  parts.tables = tables_.get();
  parts.router = router_;
  parts.runner = &commands_;
  parts.forwarder = forwarder_;
  parts.spool = spool;
  parts.log = log;
  parts.delay_places = static_cast<int>(setup_.config->params().delay_logging_resolution_limit);
  parts.deliver_through = [this](const std::string& transport, deliver::Attempt& attempt) {
    engine_->deliver_through(transport, attempt);
  };
  if (service.command == "local") return local::make_local_agent(std::move(parts));
  if (service.command == "virtual") return local::make_virtual_agent(std::move(parts));
  return std::unique_ptr<deliver::Agent>();
}

Result<bool> QueueRole::inspect(queue::Entry& notice, std::string& content, bool to_postmaster) const {
  if (!filters_ || !filters_->inspects(to_postmaster ? "notify" : "bounce")) return true;
  mime::MessageBuilder builder({}, mime::Body(-1));
  auto built = builder.add(content);
  if (built) built = builder.finish();
  if (!built) return tl::unexpected(built.error());
  mime::Message message = builder.take();
  if (!message.headers.empty() && iequals(message.headers.front().name(), "Received")) message.headers.front().own_received = true;
  mime::Envelope envelope = notice.envelope;
  for (const queue::RecipientState& state : notice.recipients) envelope.recipients.push_back(state.recipient);
  const filter::Verdict verdict = filters_->inspect(envelope, message, nullptr, -1);
  if (verdict.refuses()) return fail(Errc::temporary, notice.envelope.queue_id + ": a filter refused the notice: " + verdict.text);
  if (verdict.action == filter::Action::discard) return false;
  notice.recipients.clear();
  for (mime::Recipient& recipient : envelope.recipients) {
    queue::RecipientState state;
    state.recipient = std::move(recipient);
    notice.recipients.push_back(std::move(state));
  }
  envelope.recipients.clear();
  notice.envelope = std::move(envelope);
  if (verdict.action == filter::Action::quarantine || notice.envelope.hold) {
    notice.envelope.hold = true;
    notice.envelope.hold_reason = verdict.text;
    notice.queue = queue::QueueName::hold;
  }
  content = message.header_text();
  if (auto read = message.body.for_each([&](std::string_view piece) {
        content.append(piece);
        return true;
      });
      !read) {
    return tl::unexpected(read.error());
  }
  return !notice.recipients.empty();
}

int QueueRole::serve() {
  loop_.post([this] {
    commands_.start();
    channel_.listen([this](std::string_view word) { command(word); });
    channel_.ready();
  });
  loop_.run();
  log::flush();
  return status_;
}

// Runs on the fiber that reads the channel.
void QueueRole::command(std::string_view word) {
  if (word == "go") {
    go();
  } else if (word == "drain" && running_) {
    stop(Deadline::after(kDrainDeliveries));
  } else if (word == "stop" || word == "drain") {
    stop(Deadline::after(kStopDeliveries));
  }
}

void QueueRole::give_up(const std::string& why) {
  channel_.error(why);
  status_ = 1;
  loop_.stop();
}

void QueueRole::go() {
  queue::StoreOptions options;
  options.directory = queue::store_directory(setup_.config->params().queue_directory);
  const auto& params = setup_.config->params();
  options.min_free_bytes = static_cast<std::uint64_t>(
      std::max<std::int64_t>(params.queue_minfree, params.message_size_limit + params.message_size_limit / 2));
  options.count_deaths = setup_.queue_died;   // a power cut or a kill of everything is no message's fault
  options.log = log_;
  options.on_failure = [this](const Error& error) {
    // From a thread of the store.  Nothing can be stored any more: a new process recovers.
    log_.fatal(error.context);
    log::flush();
    ::_exit(1);
  };
  // Makes and syncs files: no work for the loop's thread.
  auto opened = net::offload([&options] { return queue::Store::open(options); });
  if (!opened) return give_up(opened.error().context);
  store_.set(std::move(*opened));
  running_ = true;
  if (const auto loaded = plugin_tables_->load(); !loaded) log_.error(loaded.error().context);
  open_state();
  if (auto started = engine_->start(); !started) return give_up(started.error().context);
  queue::ServerOptions server;
  server.listening_fd = setup_.queue_listening;
  server.log = log_;
  server.flow_delay = [this] { return engine_->flow_delay(); };
  server.verify = [this](const std::string& address, seconds wait) { return engine_->verify(address, wait); };
  server_ = queue::Server::start(store_, server, [this](queue::Entry entry, std::shared_ptr<const std::string> content) {
    // While stopping, fronts may still store: the next process finds it.
    if (!stopping_) engine_->stored(std::move(entry), std::move(content));
  });
  engine_->observe([this](const deliver::Attempt& attempt, std::size_t position, WallMicros ended) {
    const deliver::Outcome& outcome = attempt.outcomes[position];
    const mime::Recipient& recipient = attempt.recipient(position);
    const int status = static_cast<int>(outcome.status) - static_cast<int>(deliver::Outcome::Status::sent);
    server_->tell({std::to_string(status), attempt.entry->envelope.queue_id, attempt.entry->envelope.sender,
                   outcome.final_recipient.empty() ? recipient.address : outcome.final_recipient,
                   recipient.original.empty() ? recipient.address : recipient.original,
                   outcome.relay.empty() ? "none" : outcome.relay, outcome.dsn, outcome.text,
                   std::to_string(ended - attempt.entry->envelope.arrival)});
  });
  queue::ControlOptions control;
  control.socket_path = queue::control_socket_path(setup_.config->params().queue_directory);
  control.listening_fd = setup_.control_listening;
  control.owner = setup_.owner.uid;
  control.list_outsider = [this](uid_t user) { return mailq_users_.outsider(user); };
  control.flush_outsider = [this](uid_t user) { return flush_users_.outsider(user); };
  control.syslog_name = setup_.config->params().syslog_name;
  if (setup_.metrics_listening >= 0) {
    metrics_ = std::make_unique<MetricsServer>(setup_.metrics_listening, [this] { 
      return filter::prometheus_text(setup_.shared->filters) + plugin::prometheus_text(setup_.shared->plugin_metrics);
    });
  }
  control_ = queue::ControlServer::start(store_, &engine_->control(), control);
  channel_.queue_open();
  (void)loop_.spawn(net::Stack::session, [this] {
    while (net::sleep_until(Deadline::after(seconds(1)))) tables_->refresh();
  });
}

// The state may be lost; without it, results are kept in memory.
void QueueRole::open_state() {
  if (!engine_->wants_state()) return;
  kv::Options options;
  options.directory = setup_.config->params().data_directory + "/state";
  options.log = log_;
  auto opened = kv::Store::open(options);
  if (!opened) return log_.warning("address verification: nothing is kept over a restart: " + opened.error().context);
  state_ = std::move(*opened);
  engine_->use_state(state_);
  const seconds interval = setup_.config->params().address_verify_cache_cleanup_interval;
  if (interval.count() == 0) return;
  (void)loop_.spawn(net::Stack::session, [this, interval] {
    while (net::sleep_until(Deadline::after(interval)) && !stopping_) {
      if (auto left = state_->sweep(); !left) log_.warning(left.error().context);
    }
  });
}

void QueueRole::stop(Deadline deadline) {
  if (std::exchange(stopping_, true)) return;
  const auto started = loop_.spawn(net::Stack::session, [this, deadline] {
    if (running_) {
      engine_->stop(deadline);
      engine_->observe({});
      server_.reset();
      control_.reset();
      metrics_.reset();
      if (state_) state_->close();
      if (auto closed = store_.close(); !closed) log_.error(closed.error().context);
    }
    loop_.stop();
  });
  if (!started) loop_.stop();
}

}  // namespace

int queue_main(const Setup& setup, int channel, int commands) {
  log::Options options = setup.log_options;
  options.threaded = !setup.dry_run;
  options.hold = std::chrono::milliseconds(30);
  log::open(options);
  auto* role = new QueueRole(setup, channel, commands);   // never destroyed, as the front
  if (!role->prepare()) return 1;
  return setup.dry_run ? 0 : role->serve();
}

}  // namespace millrace::daemon
