// Programs that serve filters: see program.h.
#include "core/service/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/map/table.h"
#include "core/net/descriptor.h"
#include "core/net/dns.h"
#include "core/net/fiber.h"

namespace millrace::service {
namespace {

using namespace std::chrono_literals;

constexpr auto kDrainTime = 4s;           // for requests under way, at SIGTERM
constexpr std::size_t kState = 32u << 20;
constexpr std::size_t kMaxConnections = 20'000;

int usage(const char* program, const ProgramTraits& traits) {
  std::fprintf(stderr,
               "usage: %s %s [--socket unix:PATH|inet:HOST:PORT ...] [--mode 0660] [--group GROUP] [--user USER]\n"
               "       [--plugins DIR] [--resolv-conf FILE]%s%s plugin:NAME ...\n",
               program, traits.name.c_str(), traits.config_file ? " [--config FILE]" : "", traits.usage.c_str());
  return 2;
}

std::optional<Options> parse(int argc, char** argv, const ProgramTraits& traits) {
  Options out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) {
      out.filters.emplace_back(word);
      continue;
    }
    if (i + 1 == argc) return {};
    const std::string value = argv[++i];
    if (word == "--socket") out.sockets.push_back(value);
    else if (word == "--group") out.socket.group = value;
    else if (word == "--user") out.user = value;
    else if (word == "--config" && traits.config_file) out.config = value;
    else if (word == "--plugins") out.plugins = value;
    else if (word == "--resolv-conf") out.resolv_conf = value;
    else if (word == "--mode") {
      unsigned mode = 0;
      for (const char c : value) mode = c >= '0' && c <= '7' && mode < 01000 ? mode * 8 + static_cast<unsigned>(c - '0') : 07777;
      if (value.empty() || mode > 0777) return {};
      out.socket.mode = mode;
    } else if (std::find(traits.more.begin(), traits.more.end(), word) != traits.more.end()) {
      out.more[std::string(word)] = value;
    } else {
      return {};
    }
  }
  if (out.filters.empty()) return {};
  return out;
}

// Nothing that comes from the network is looked at as root.
Result<void> drop_rights(const std::string& wanted) {
  if (::geteuid() != 0) {
    const passwd* const self = wanted.empty() ? nullptr : ::getpwnam(wanted.c_str());
    if (!wanted.empty() && (self == nullptr || self->pw_uid != ::geteuid())) return fail(Errc::config, "--user: started without root, cannot become " + wanted);
    return {};
  }
  const passwd* entry = ::getpwnam(wanted.empty() ? "millrace" : wanted.c_str());
  if (entry == nullptr && wanted.empty()) entry = ::getpwnam("nobody");
  if (entry == nullptr) return fail(Errc::config, "--user: unknown user: " + wanted);
  if (entry->pw_uid == 0) return fail(Errc::config, "--user: not root");
  if (::setgroups(0, nullptr) != 0 || ::setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) != 0 ||
      ::setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) != 0) {
    return fail(Errc::io, fmt::format("cannot become {}: {}", entry->pw_name, std::strerror(errno)));
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return {};
}

// Standard input and output where they are no socket: reads and writes on a worker thread.
class PipeStream final : public net::Stream {
 public:
  Result<std::size_t> read_some(char* data, std::size_t size, Deadline) override {
    const ssize_t n = net::offload([&] { return ::read(STDIN_FILENO, data, size); });
    if (n > 0) return static_cast<std::size_t>(n);
    return fail(n == 0 ? Errc::closed : Errc::io, n == 0 ? "end of input" : std::strerror(errno));
  }
  Result<void> write(std::string_view bytes, Deadline) override {
    while (!bytes.empty()) {
      const ssize_t n = net::offload([&] { return ::write(STDOUT_FILENO, bytes.data(), bytes.size()); });
      if (n < 0) return fail(Errc::io, std::strerror(errno));
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  bool readable() override { return false; }
  Result<net::TlsInfo> start_tls(net::TlsContext&, const std::string&, Deadline) override { return fail(Errc::protocol, "no TLS here"); }
  void close() override {}
};

class Program {
 public:
  Program(const ProgramTraits& traits, Options options, const std::string& config_directory)
      : options_(std::move(options)),
        log_("millrace/" + traits.name),
        tables_(map::TableOptions{config_directory, [this](const std::string& text) { log_.warning(text); }}),
        state_(plugin::make_memory_state(kState)),
        role_(traits.make(log_)) {
    config::Findings findings;   // a Postfix site's main.cf may hold what we know nothing of: it is not ours to judge
    config_ = config::Config::load(config_directory, findings);
    if (options_.plugins.empty()) options_.plugins = config_->params().plugin_directory;
  }

  int run(const std::vector<int>& listening, bool standard_input);

 private:
  Result<void> build();
  void reload();
  void watch_signals(int fd);
  void stop();

  Options options_;
  log::Logger log_;
  net::Loop loop_;
  std::shared_ptr<const config::Config> config_;
  std::unique_ptr<net::Resolver> resolver_;
  map::TableSet tables_;
  std::shared_ptr<plugin::State> state_;
  std::unique_ptr<Role> role_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  bool stopping_ = false;
};

Result<void> Program::build() {
  std::map<std::string, std::string> keys;
  if (!options_.config.empty()) {
    std::ifstream file(options_.config);
    if (!file) return fail(Errc::config, options_.config + ": " + std::strerror(errno));
    auto parsed = parse_config(std::string(std::istreambuf_iterator<char>(file), {}));
    if (!parsed) return fail(Errc::config, options_.config + ", " + parsed.error().context);
    keys = std::move(*parsed);
  }
  plugin::Host host;
  host.resolver = [this] { return resolver_.get(); };
  host.log = log_;
  host.tables = &tables_;
  host.state = state_;
  host.authserv_id = config_->params().myhostname;
  return role_->build({options_, config_->params(), std::move(host), std::move(keys)});
}

void Program::reload() {
  if (const auto built = build(); !built) return log_.error("reload refused: " + built.error().context);
  log_.info("reloaded");
}

void Program::stop() {
  if (stopping_) return;
  stopping_ = true;
  acceptors_.clear();
  role_->drain();
  const Deadline end = Deadline::after(kDrainTime);
  while (role_->connections() > 0 && !end.passed()) (void)net::sleep_until(Deadline::after(10ms));
  loop_.stop();
}

void Program::watch_signals(int fd) {
  net::Descriptor signals(fd);
  for (;;) {
    signals.about_to_read();
    signalfd_siginfo info;
    const ssize_t n = ::read(fd, &info, sizeof info);
    if (n != sizeof info) {
      if (!signals.wait(net::Descriptor::Direction::read, Deadline::never())) return;
      continue;
    }
    if (info.ssi_signo == SIGHUP) reload();
    else return stop();
  }
}

int Program::run(const std::vector<int>& listening, bool standard_input) {
  resolver_ = net::make_resolver({options_.resolv_conf, ""});
  if (const auto built = build(); !built) {
    std::fprintf(stderr, "millrace: fatal: %s\n", built.error().context.c_str());
    if (standard_input) log_.fatal(built.error().context);
    return 1;
  }
  sigset_t set;
  sigemptyset(&set);
  for (const int one : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, one);
  const int signals = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0 || !loop_.spawn(net::Stack::plugin, [this, signals] { watch_signals(signals); })) return 1;
  for (const int fd : listening) {
    acceptors_.push_back(std::make_unique<net::Acceptor>(fd, [this](int connection) {
      auto stream = net::make_stream(connection);
      if (role_->connections() >= kMaxConnections) return;
      const auto shared = std::make_shared<std::unique_ptr<net::Stream>>(std::move(stream));
      if (!loop_.spawn(net::Stack::session, [this, shared] { role_->serve(std::move(*shared)); })) {
        log_.warning("no room for another connection");
      }
    }));
  }
  if (standard_input) {
    (void)loop_.spawn(net::Stack::session, [this] {
      struct stat st {};
      const bool is_socket = ::fstat(STDIN_FILENO, &st) == 0 && S_ISSOCK(st.st_mode);
      role_->serve(is_socket ? net::make_stream(::dup(STDIN_FILENO)) : std::make_unique<PipeStream>());
      loop_.stop();
    });
  } else {
    log_.info(fmt::format("serving on {}", options_.sockets.empty() ? "sockets of systemd" : fmt::format("{}", fmt::join(options_.sockets, ", "))));
  }
  loop_.run();
  return 0;
}

}  // namespace

Result<std::map<std::string, std::string>> parse_config(std::string_view text) {
  std::map<std::string, std::string> out;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    for (std::size_t at = line.find('#'); at != line.npos; at = line.find('#', at + 1)) {
      if (at == 0 || is_space(line[at - 1])) {
        line = line.substr(0, at);
        break;
      }
    }
    line = trim(line);
    if (line.empty()) continue;
    const std::size_t equal = line.find('=');
    const std::string_view key = trim(line.substr(0, equal));
    if (equal == line.npos || key.empty()) return fail(Errc::config, fmt::format("line {}: \"{}\" is not key = value", number, printable(line.substr(0, 60))));
    out[std::string(key)] = trim(line.substr(equal + 1));
  }
  return out;
}

int run_program(const ProgramTraits& traits, int argc, char** argv, const std::string& config_directory) {
  const auto options = parse(argc, argv, traits);
  if (!options) return usage(argv[0], traits);
  const auto fatal = [&](const std::string& why) { return std::fprintf(stderr, "%s: fatal: %s\n", argv[0], why.c_str()), 1; };
  // Before any thread: they inherit it.
  sigset_t set;
  sigemptyset(&set);
  for (const int one : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, one);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  std::vector<int> listening = systemd_sockets();
  for (const std::string& text : options->sockets) {
    const auto fd = listen_at(text, options->socket);
    if (!fd) return fatal(fd.error().context);
    listening.push_back(*fd);
  }
  const bool standard_input = listening.empty();
  if (standard_input && !traits.standard_input) return fatal("no --socket, and none of systemd");
  if (const auto dropped = drop_rights(options->user); !dropped) return fatal(dropped.error().context);
  // Under spawn(8), standard error is the client's connection: lines go to syslog or nowhere.
  log::Options logging;
  const bool has_syslog = ::access("/dev/log", F_OK) == 0;
  logging.facility = standard_input && has_syslog ? log::Facility::syslog : log::Facility::standard_error;
  if (standard_input && !has_syslog) logging.fd = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  log::open(logging);
  const int status = Program(traits, *options, config_directory).run(listening, standard_input);
  log::flush();
  for (const std::string& text : options->sockets) {
    if (text.starts_with("unix:")) (void)::unlink(text.c_str() + 5);   // may fail: the folder is not ours any more
  }
  return status;
}

}  // namespace millrace::service
