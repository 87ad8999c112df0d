#include "core/daemon/front.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "core/daemon/chain_builder.h"
#include "core/config/services.h"
#include "core/daemon/channel.h"
#include "core/daemon/tables.h"
#include "core/daemon/site_flush.h"
#include "core/filter/trace.h"
#include "core/plugin/offers.h"
#include "core/queue/paths.h"
#include "core/net/fiber.h"
#include "core/queue/client.h"
#include "core/queue/watcher.h"
#include "core/smtp/service.h"
#include "core/smtp/session.h"
#include "core/submit/pickup.h"
#include "core/daemon/unsmtp_filters.h"

namespace millrace::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kImbalance = 8;      // sessions above the mean at which a front leaves the listener out
constexpr milliseconds kBalanceCheck{20};    // while it does: the others may have got their share
constexpr seconds kPassLimit{5};             // for the descriptor, once a "pass" service was connected to
constexpr milliseconds kStopGrace{1200};     // sessions end by themselves (421) for this long, then are woken

class Front {
 public:
  Front(const Setup& setup, int slot, int channel)
      : setup_(setup), slot_(slot), channel_(channel, setup.log_options.fd), log_(logger_for(*setup.config, "smtpd")) {}

  // Everything that can be wrong with the configuration is found here.
  bool prepare() {
    config::Findings findings;
    const bool good = build(findings);
    channel_.report(findings);
    return good && !findings.has_errors();
  }

  int serve();

 private:
  bool build(config::Findings& findings);
  bool build_service(std::size_t index, config::Findings& findings);
  bool build_pickup(config::Findings& findings);
  void start_pickup();
  void start_observing();
  void command(std::string_view word);
  void accept_all();
  void accepted(const std::shared_ptr<smtp::ServiceContext>& context, int fd);
  void take_passed(const std::shared_ptr<smtp::ServiceContext>& context, int channel);
  void session_ended();
  void balance();
  void accept_again();
  bool above_mean() const;
  void housekeeping();
  void end_when_empty();
  std::atomic<std::uint32_t>& counter() const {
    return setup_.shared->fronts[setup_.generation % 2][slot_].sessions;
  }

  const Setup& setup_;
  const int slot_;
  Channel channel_;
  log::Logger log_;
  net::Loop loop_;
  std::unique_ptr<net::Resolver> resolver_;
  std::shared_ptr<plugin::TableSource> plugin_tables_;
  std::unique_ptr<map::TableSet> tables_;
  std::unique_ptr<filter::TraceStore> trace_;
  std::unique_ptr<smtp::MessageSink> sink_;
  std::unique_ptr<SiteFlush> site_flush_;
  std::map<std::size_t, std::shared_ptr<smtp::ServiceContext>> contexts_;   // by index in services()
  std::map<std::size_t, std::unique_ptr<ChainBuilder>> builders_;
  std::vector<std::shared_ptr<plugin::Observer>> observers_;
  std::unique_ptr<queue::Watcher> watcher_;
  std::unique_ptr<submit::Pickup> pickup_;               // in the first front alone
  std::shared_ptr<UnsmtpFilters> pickup_filters_;        // nullptr: nothing is asked
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  std::size_t sessions_ = 0;
  bool paused_ = false, watching_balance_ = false, draining_ = false;
};

bool Front::build(config::Findings& findings) {
  resolver_ = net::make_resolver();
  plugin_tables_ = std::make_shared<plugin::TableSource>(setup_.config->params().plugin_directory, log_);
  plugin_tables_->use();
  tables_ = std::make_unique<map::TableSet>(table_options(*setup_.config, setup_.owner, log_));
  if (!setup_.dry_run) {
    const int spool = ::open(queue::store_directory(setup_.config->params().queue_directory).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool < 0) {
      findings.error({}, "queue_directory", "cannot open " + queue::store_directory(setup_.config->params().queue_directory));
      return false;
    }
    queue::ClientOptions client;
    client.socket_path = queue::queue_socket_path(setup_.config->params().queue_directory);
    client.spool_directory = spool;
    client.long_queue_ids = setup_.config->params().enable_long_queue_ids;
    client.min_free_bytes = static_cast<std::uint64_t>(setup_.config->params().queue_minfree);
    sink_ = queue::make_client(client, log_);
    site_flush_ = std::make_unique<SiteFlush>(queue::control_socket_path(setup_.config->params().queue_directory));
  }
  // As root: tables, keys, restriction lists.
  for (const ListenPlan& place : setup_.plan) {
    if (contexts_.count(place.service) == 0 && !build_service(place.service, findings)) return false;
  }
  if (slot_ == 0 && !build_pickup(findings)) return false;
  if (auto changed = become(setup_.owner); !changed) {
    findings.error({}, "mail_owner", changed.error().context);
    return false;
  }
  // As mail_owner: whatever runs code of others.
  if (const auto loaded = plugin_tables_->load(); !loaded) {
    findings.error({}, "plugin_directory", loaded.error().context);
    return false;
  }
  for (auto& [index, context] : contexts_) {
    if (!builders_[index]->add_foreign(findings)) return false;
    context->chain = builders_[index]->chain();
    context->chain_for = builders_[index]->chooser();
    context->trace = trace_.get();
  }
  return true;
}

bool Front::build_service(std::size_t index, config::Findings& findings) {
  const config::Service& service = setup_.config->services()[index];
  tables_->set_chroot(service.chroot ? setup_.config->params().queue_directory : "");
  ChainParts chain_parts;
  chain_parts.config = setup_.config;
  chain_parts.service = &service;
  chain_parts.tables = tables_.get();
  chain_parts.resolver = resolver_.get();
  chain_parts.shared = &setup_.shared->filters;
  chain_parts.plugin_metrics = &setup_.shared->plugin_metrics;
  chain_parts.anvil = setup_.anvil;
  chain_parts.process = anvil_process(setup_.generation, slot_);
  chain_parts.queue = sink_.get();
  auto builder = std::make_unique<ChainBuilder>(chain_parts);
  if (!builder->add_own(findings)) return false;
  smtp::ServiceParts parts;
  parts.config = setup_.config;
  parts.service = &service;
  parts.tables = tables_.get();
  parts.router = builder->router();
  parts.sink = sink_.get();
  parts.resolver = resolver_.get();
  if (site_flush_) {
    parts.flush_site = [flush = site_flush_.get()](const std::string& destination) { return flush->ask(destination); };
  }
  parts.anvil = setup_.anvil;
  parts.process = anvil_process(setup_.generation, slot_);
  auto context = smtp::ServiceContext::make(std::move(parts), findings);
  if (!context) return false;
  contexts_[index] = std::move(context);
  builders_[index] = std::move(builder);
  return true;
}

// Mail of local users: the service pickup, where master.cf has it.
bool Front::build_pickup(config::Findings& findings) {
  const config::Service* service = nullptr;
  for (const config::Service& one : setup_.config->services()) {
    if (config::service_kind(one) == config::ServiceKind::submission) service = &one;
  }
  if (service == nullptr) return true;
  auto router = rewrite::Router::make(setup_.config, setup_.config->params(), *tables_);
  if (!router) {
    report_error(findings, *setup_.config, "address routing", router.error());
    return false;
  }
  pickup_filters_ = UnsmtpFilters::make(setup_.config, *tables_, findings, &setup_.shared->filters,
                                        anvil_process(setup_.generation, slot_), service);
  submit::PickupParts parts;
  parts.config = setup_.config;
  parts.service = service;
  parts.tables = tables_.get();
  parts.router = std::move(*router);
  parts.sink = sink_.get();
  pickup_ = submit::Pickup::make(parts, findings);
  return pickup_ != nullptr;
}

void Front::start_pickup() {
  if (!pickup_) return;
  if (pickup_filters_) {
    pickup_->use([this](mime::Envelope& envelope, mime::Message& message) {
      return pickup_filters_->inspect(envelope, message, trace_.get(), sink_->spool_directory());
    });
  }
  acceptors_.push_back(std::make_unique<net::Acceptor>(setup_.pickup_listening, [this](int fd) {
    ::close(fd);
    pickup_->wake();
  }));
  (void)loop_.spawn(net::Stack::plugin, [this] { pickup_->run(); });
}

int Front::serve() {
  filter::TraceOptions trace;
  trace.directory = trace_directory(*setup_.config);
  trace.name = fmt::format("front-{}-{}", setup_.generation % 2, slot_);
  trace.limit_bytes = static_cast<std::uint64_t>(setup_.config->params().decision_trace_limit) /
                      static_cast<std::uint64_t>(2 * setup_.fronts);
  if (trace.limit_bytes != 0) {
    auto opened = filter::TraceStore::open(trace);
    if (!opened) {
      channel_.error(opened.error().context);
      return 1;
    }
    trace_ = std::move(*opened);
    for (auto& [index, context] : contexts_) context->trace = trace_.get();
  }
  loop_.post([this] {
    channel_.listen([this](std::string_view word) { command(word); });
    channel_.ready();
  });
  loop_.run();
  log::flush();
  return 0;
}

void Front::command(std::string_view word) {
  if (word == "go") {
    accept_all();
    start_pickup();
    start_observing();
    (void)loop_.spawn(net::Stack::session, [this] { housekeeping(); });
  } else if (word == "drain" || word == "stop") {
    acceptors_.clear();
    watcher_.reset();
    if (pickup_) pickup_->stop();
    const bool at_once = word == "stop";
    if (at_once) {
      for (auto& [index, context] : contexts_) context->stopping = true;
    }
    if (!std::exchange(draining_, true) || at_once) {
      (void)loop_.spawn(net::Stack::session, [this, at_once] {
        const Deadline until = at_once ? Deadline::after(kStopGrace) : Deadline::never();
        while ((sessions_ != 0 || (pickup_ && pickup_->running())) && !until.passed()) {
          if (!net::sleep_until(Deadline::after(kBalanceCheck))) break;
        }
        loop_.stop();
      });
    }
  }
}

// Plugins that want to know of deliveries, each once however many services it stands in.
void Front::start_observing() {
  for (const auto& [index, context] : contexts_) {
    for (const auto& filter : context->chain.filters()) {
      auto observer = plugin::Observer::make(*filter);
      const auto is_known = [&](const auto& known) { return known->name() == observer->name(); };
      if (observer && std::none_of(observers_.begin(), observers_.end(), is_known)) observers_.push_back(std::move(observer));
    }
  }
  if (observers_.empty()) return;
  watcher_ = queue::Watcher::start(queue::queue_socket_path(setup_.config->params().queue_directory), [this](const auto& delivery) {
    for (const auto& observer : observers_) observer->tell(delivery);
  });
}

void Front::accept_all() {
  for (std::size_t i = 0; i < setup_.plan.size(); ++i) {
    const auto context = contexts_[setup_.plan[i].service];
    acceptors_.push_back(std::make_unique<net::Acceptor>(
        setup_.listening[i], [this, context, passed = setup_.config->services()[setup_.plan[i].service].type == "pass"](int fd) {
          passed ? take_passed(context, fd) : accepted(context, fd);
        }));
  }
}

void Front::accepted(const std::shared_ptr<smtp::ServiceContext>& context, int fd) {
  ++sessions_;
  counter().fetch_add(1, std::memory_order_relaxed);
  const auto started = loop_.spawn(net::Stack::session, [this, context, fd] {
    { smtp::Session(net::make_stream(fd), *context, net::remote_endpoint(fd), net::local_endpoint(fd)).run(); }
    session_ended();
  });
  if (!started) {
    static constexpr std::string_view kBusy = "421 4.3.2 All server ports are busy\r\n";
    (void)!::send(fd, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::close(fd);
    session_ended();
  } else if (setup_.fronts > 1 && above_mean()) {
    balance();
  }
}

// A "pass" service (master(5)): whoever connects hands over the client's socket and nothing else.
void Front::take_passed(const std::shared_ptr<smtp::ServiceContext>& context, int channel) {
  const auto started = loop_.spawn(net::Stack::session, [this, context, channel] {
    net::MessageSocket socket(channel);
    std::string bytes;
    std::vector<int> passed;
    const auto received = socket.receive(bytes, passed, Deadline::after(kPassLimit));
    if (!received || passed.size() != 1) {
      log_.warning(fmt::format("service {}: no client was passed", context->name));
      for (const int fd : passed) ::close(fd);
      return;
    }
    accepted(context, passed.front());
  });
  if (!started) ::close(channel);
}

void Front::session_ended() {
  --sessions_;
  counter().fetch_sub(1, std::memory_order_relaxed);
  // At once, or short sessions would leave it idle until the next check.
  if (paused_ && !above_mean()) accept_again();
}

bool Front::above_mean() const {
  std::uint32_t total = 0;
  for (int i = 0; i < setup_.fronts; ++i) {
    total += setup_.shared->fronts[setup_.generation % 2][i].sessions.load(std::memory_order_relaxed);
  }
  return sessions_ > total / static_cast<std::uint32_t>(setup_.fronts) + kImbalance;
}

// epoll alone gives nearly all held connections to one process: a front that has many more than the
// others leaves the listening sockets to them until it has not.
void Front::balance() {
  if (std::exchange(paused_, true)) return;
  for (auto& acceptor : acceptors_) acceptor->pause();
  if (std::exchange(watching_balance_, true)) return;
  const auto started = loop_.spawn(net::Stack::session, [this] {
    while (paused_ && above_mean() && net::sleep_until(Deadline::after(kBalanceCheck))) {
    }
    watching_balance_ = false;
    accept_again();
  });
  if (!started) {
    watching_balance_ = false;
    accept_again();
  }
}

void Front::accept_again() {
  if (!std::exchange(paused_, false)) return;
  for (auto& acceptor : acceptors_) acceptor->resume();
}

// Once a second: tables that changed; now and then, one front for all: what anvil(8) would log.
void Front::housekeeping() {
  const log::Logger anvil_log = logger_for(*setup_.config, "anvil");
  const auto& params = setup_.config->params();
  TimePoint next_statistics = SteadyClock::now() + params.anvil_status_update_time;
  while (net::sleep_until(Deadline::after(seconds(1)))) {
    tables_->refresh();
    for (auto& [index, builder] : builders_) builder->sweep();
    if (slot_ != 0 || draining_ || SteadyClock::now() < next_statistics) continue;
    next_statistics = SteadyClock::now() + params.anvil_status_update_time;
    for (const std::string& line : setup_.anvil->take_statistics(params.anvil_rate_time_unit)) anvil_log.info(line);
  }
}

}  // namespace

int front_main(const Setup& setup, int slot, int channel) {
  log::Options options = setup.log_options;
  options.threaded = !setup.dry_run;
  log::open(options);
  // Never destroyed: at the end of the process there is nothing to give back, and sessions that were cut
  // off may still hold references.
  auto* front = new Front(setup, slot, channel);
  if (!front->prepare()) return 1;
  return setup.dry_run ? 0 : front->serve();
}

}  // namespace millrace::daemon
