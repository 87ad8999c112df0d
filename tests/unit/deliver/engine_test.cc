// The engine with a real store, real sockets and a real configuration, against a server in a thread.
#include "core/deliver/engine.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <mutex>
#include <thread>

#include "core/deliver/address.h"
#include "core/net/fiber.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::deliver;

namespace {
// Takes all mail, one thread for each connection; RCPT of "no@…" is refused, of "later@…" put off.
class ThreadSink {
 public:
  ThreadSink() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(fd_, 100) == 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    acceptor_ = std::thread([this] {
      for (;;) {
        const int one = ::accept(fd_, nullptr, nullptr);
        if (one < 0) return;
        ++connections;
        sessions_.emplace_back([this, one] { serve(one); });
      }
    });
  }
  ~ThreadSink() {
    ::shutdown(fd_, SHUT_RDWR);
    ::close(fd_);
    acceptor_.join();
    for (std::thread& one : sessions_) one.join();
  }
  std::vector<std::string> taken() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  unsigned port = 0;
  std::atomic<int> connections{0};

 private:
  void serve(int fd) {
    std::string input, text;
    bool data = false;
    const auto say = [&](const std::string& line) { (void)!::write(fd, line.data(), line.size()); };
    say("220 sink ESMTP\r\n");
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) {
      input.append(buffer, static_cast<std::size_t>(n));
      for (std::size_t end = 0; (end = input.find("\r\n")) != input.npos; input.erase(0, end + 2)) {
        const std::string line = input.substr(0, end);
        if (data) {
          if (line != ".") {
            text += line + "\r\n";
            continue;
          }
          data = false;
          const std::lock_guard lock(mutex_);
          messages_.push_back(std::move(text));
          text.clear();
          say("250 2.0.0 taken\r\n");
        } else if (line.starts_with("EHLO")) {
          say("250-sink\r\n250-PIPELINING\r\n250 SIZE\r\n");
        } else if (line.find("<no@") != line.npos) {
          say("550 5.1.1 unknown\r\n");
        } else if (line.find("<later@") != line.npos) {
          say("450 4.2.1 busy\r\n");
        } else if (line == "DATA") {
          data = true;
          say("354 go\r\n");
        } else if (line == "QUIT") {
          say("221 bye\r\n");
        } else {
          say("250 ok\r\n");
        }
      }
    }
    ::close(fd);
  }
  int fd_;
  std::thread acceptor_;
  std::vector<std::thread> sessions_;
  std::mutex mutex_;
  std::vector<std::string> messages_;
};

class FixedRouter : public rewrite::Router {
 public:
  explicit FixedRouter(std::string nexthop) : nexthop_(std::move(nexthop)) {}
  std::string rewrite(std::string_view address) const override { return std::string(address); }
  Result<rewrite::Route> resolve(std::string_view recipient, std::string_view) const override {
    const std::string domain = domain_of(recipient);
    if (domain == "gone.example") return rewrite::Route{{}, std::string(recipient), "error", "5.1.2 no such domain"};
    if (domain == "pipe.example") return rewrite::Route{{}, std::string(recipient), "local", "mx"};
    return rewrite::Route{{}, std::string(recipient), "smtp", nexthop_};
  }
  Result<bool> is_auth_destination(std::string_view) const override { return true; }
  Result<bool> is_local_domain(std::string_view) const override { return false; }
  bool is_deliverable_syntax(std::string_view) const override { return true; }
  Result<std::string> unlisted(std::string_view, Role, std::string_view, int*) const override { return std::string(); }

 private:
  std::string nexthop_;
};

constexpr char kMaster[] =
    "smtp unix - - n - - smtp\nlmtp unix - - n - - lmtp\nerror unix - - n - - error\n"
    "retry unix - - n - - error\ndiscard unix - - n - - discard\nlocal unix - n n - - local\n";

struct Rig {
  explicit Rig(const std::string& main_cf = "") {
    static int count = 0;
    directory = "/tmp/millrace-deliver-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    std::filesystem::create_directories(directory);
    config::Findings findings;
    config = config::Config::from_text("myhostname = mx.example\nmail_name = Mill\ninet_protocols = ipv4\n"
                                       "smtp_tls_security_level = none\n" + main_cf, kMaster, findings);
    for (const auto& line : findings.lines) INFO(line.text);
    REQUIRE_FALSE(findings.has_errors());
  }
  ~Rig() { std::filesystem::remove_all(directory); }

  void run(const std::string& nexthop, const std::function<void()>& body) {
    test::on_loop([&] {
      queue::StoreOptions options;
      options.directory = directory;
      auto opened = queue::Store::open(options);
      REQUIRE(opened);
      store = std::move(*opened);
      resolver = net::make_resolver();
      map::TableSet tables(map::TableOptions{});
      auto made = Engine::make(config, *store, std::make_shared<FixedRouter>(nexthop), *resolver, tables);
      if (!made) FAIL(made.error().context);
      engine = std::move(*made);
      REQUIRE(engine->start());
      body();
      engine->stop(Deadline::after(std::chrono::seconds(5)));
      REQUIRE(store->close());
      engine.reset();
      store.reset();
      resolver.reset();
    });
  }
  void submit(const std::string& sender, const std::vector<std::string>& recipients, const std::string& text = "Subject: x\r\n\r\n.hello\r\n") {
    auto number = store->reserve_ids(1);
    REQUIRE(number);
    queue::Entry entry;
    entry.envelope.queue_id = queue::format_queue_id(*number, wall_now(), false);
    entry.envelope.sender = sender;
    entry.envelope.arrival = wall_now();
    entry.envelope.size = text.size();
    for (const std::string& address : recipients) {
      queue::RecipientState state;
      state.recipient.address = state.recipient.original = address;
      entry.recipients.push_back(state);
    }
    REQUIRE(store->add(entry, text, -1));
    engine->stored(std::move(entry), std::make_shared<const std::string>(text));
  }
  std::vector<queue::Entry> left() {
    (void)store->commit_pending();
    std::vector<queue::Entry> out;
    REQUIRE(store->for_each([&](const queue::Summary& one) {
      out.push_back(*store->load(one.queue_id));
      return true;
    }));
    return out;
  }
  static void wait(const std::function<bool()>& until) {
    for (int i = 0; i < 1000 && !until(); ++i) (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(5)));
    REQUIRE(until());
  }

  std::string directory;
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<queue::Store> store;
  std::unique_ptr<net::Resolver> resolver;
  std::unique_ptr<Engine> engine;
};
}  // namespace

TEST_CASE("deliver engine: stored mail arrives, and the queue is empty", "[deliver][engine]") {
  ThreadSink sink;
  Rig rig;
  rig.run("[127.0.0.1]:" + std::to_string(sink.port), [&] {
    rig.submit("s@x.example", {"a@dest.example", "b@dest.example"});
    rig.submit("s@x.example", {"a@dest.example"}, "Subject: large\r\n\r\n" + std::string(40000, 'x') + "\r\n");
    Rig::wait([&] { return sink.taken().size() == 2; });
    Rig::wait([&] { return rig.left().empty(); });
  });
  CHECK(sink.taken()[0].substr(0, 11) == "Subject: x\r");
}

TEST_CASE("deliver engine: refused, put off, unavailable", "[deliver][engine]") {
  ThreadSink sink;
  Rig rig;
  rig.run("[127.0.0.1]:" + std::to_string(sink.port), [&] {
    rig.submit("s@x.example", {"no@dest.example", "later@dest.example", "ok@dest.example", "a@gone.example", "a@pipe.example"});
    Rig::wait([&] { return sink.taken().size() == 2; });   // the message and its bounce
    Rig::wait([&] { return rig.left().size() == 1 && rig.left()[0].queue == queue::QueueName::deferred; });
    const queue::Entry entry = rig.left()[0];
    std::string open;
    for (const auto& one : entry.recipients) {
      if (!one.done) open += one.recipient.address + ": " + one.dsn + " " + one.reason + "\n";
    }
    CHECK(open == "later@dest.example: 4.2.1 host 127.0.0.1[127.0.0.1] said: 450 4.2.1 busy (in reply to RCPT TO command)\n"
                  "a@pipe.example: 4.3.0 mail transport unavailable\n");
  });
  const std::string bounce = sink.taken()[1];
  CHECK(bounce.find("Final-Recipient: rfc822; no@dest.example\r\n") != bounce.npos);
  CHECK(bounce.find("Final-Recipient: rfc822; a@gone.example\r\n") != bounce.npos);
  CHECK(bounce.find("Diagnostic-Code: X-Mill; no such domain\r\n") != bounce.npos);
}

TEST_CASE("deliver engine: a waiting queue goes over few connections", "[deliver][engine]") {
  ThreadSink sink;
  Rig rig;
  rig.run("[127.0.0.1]:" + std::to_string(sink.port), [&] {
    for (int i = 0; i < 500; ++i) rig.submit("s@x.example", {"a@dest.example"});
    Rig::wait([&] { return sink.taken().size() == 500; });
    Rig::wait([&] { return rig.left().empty(); });
  });
  CHECK(sink.connections <= 60);
}

TEST_CASE("deliver engine: a level of TLS that is not there is a start-up error", "[deliver][engine]") {
  for (const char* bad : {"smtp_tls_security_level = dane\n", "smtp_tls_security_level = verify\n",
                          "smtp_destination_concurrency_positive_feedback = 7\n", "smtp_tls_policy_maps = nosuch:x\n"}) {
    CAPTURE(bad);
    Rig rig(bad);
    test::on_loop([&] {
      queue::StoreOptions options;
      options.directory = rig.directory;
      auto store = queue::Store::open(options);
      REQUIRE(store);
      auto resolver = net::make_resolver();
      map::TableSet tables(map::TableOptions{});
      CHECK_FALSE(Engine::make(rig.config, **store, std::make_shared<FixedRouter>("x"), *resolver, tables));
      REQUIRE((*store)->close());
    });
  }
}
