// Figures, not checks: hidden, run with `unit_net "[.bench]"` (of a release build).
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "core/net/dns.h"
#include "core/net/line_stream.h"
#include "core/net/tls.h"
#include "tests/support/certificate.h"
#include "tests/support/dns_responder.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::test;
using namespace std::chrono_literals;

namespace {

double seconds_of(const std::function<void()>& work) {
  const TimePoint start = SteadyClock::now();
  work();
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double user_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec) / 1e6;
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

long anonymous_kib() {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    long value = 0;
    if (word == "RssAnon:" && in >> value) return value;
  }
  return 0;
}

void session(int fd) {
  LineStream lines(make_stream(fd));
  lines.write("220 mx.example ESMTP\r\n");
  while (const auto line = lines.read_line(2048, Deadline::after(300s))) {
    if (line->text.starts_with("EHLO")) {
      lines.write("250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 SMTPUTF8\r\n");
    } else {
      lines.write("250 2.0.0 Ok\r\n");
    }
  }
}

}  // namespace

TEST_CASE("bench: switches, waits and spawns", "[.bench]") {
  Loop loop;
  constexpr int kRounds = 2000000;
  Event ping, pong;
  const auto player = [&](Event& mine, Event& other) {
    REQUIRE(loop.spawn(Stack::session, [&] {
      for (int round = 0; round < kRounds; ++round) {
        if (!mine.wait(Deadline::after(60s))) break;
        mine.reset();
        other.set();
      }
      if (&mine == &pong) loop.stop();
    }));
  };
  player(ping, pong);
  player(pong, ping);
  ping.set();
  const double s = seconds_of([&] { loop.run(); });
  std::printf("suspend with a deadline + wake + resume: %.0f ns\n", s / kRounds / 2 * 1e9);

  int ended = 0;
  const double spawning = seconds_of([&] {
    for (int i = 0; i < 500000; ++i) {
      (void)loop.spawn(Stack::session, [&] {
        if (++ended % 100 == 0) loop.stop();
      });
      if (i % 100 == 99) loop.run();
    }
  });
  std::printf("spawn + run + end: %.0f ns\n", spawning / 500000 * 1e9);
}

TEST_CASE("bench: echo over loopback TCP", "[.bench]") {
  const auto listener = listen_tcp({"127.0.0.1", 0, false}, 1024);
  REQUIRE(listener);
  on_loop([&] {
    Acceptor acceptor(*listener, [](int fd) {
      (void)Loop::current().spawn(Stack::session, [fd] { session(fd); });
    });
    constexpr int kClients = 50, kRounds = 4000;
    int left = kClients;
    Event done;
    const double cpu = cpu_seconds(), user = user_seconds();
    const double s = seconds_of([&] {
      for (int i = 0; i < kClients; ++i) {
        (void)Loop::current().spawn(Stack::session, [&] {
          auto stream = connect(local_endpoint(*listener), {}, Deadline::after(10s));
          LineStream lines(std::move(*stream));
          (void)lines.read_line(2048, Deadline::after(10s));
          for (int round = 0; round < kRounds; ++round) {
            lines.write("NOOP\r\n");
            if (!lines.read_line(2048, Deadline::after(10s))) break;
          }
          if (--left == 0) done.set();
        });
      }
      (void)done.wait(Deadline::never());
    });
    std::printf("command and reply, both sides in one thread: %.0f /s, %.2f us CPU (%.2f user)\n",
                kClients * kRounds / s, (cpu_seconds() - cpu) / (kClients * kRounds) * 1e6,
                (user_seconds() - user) / (kClients * kRounds) * 1e6);
  });
  ::close(*listener);
}

TEST_CASE("bench: memory of idle sessions", "[.bench]") {
  const bool tls = GENERATE(false, true);
  const auto listener = listen_tcp({"127.0.0.1", 0, false}, 1024);
  REQUIRE(listener);
  const TestCertificate certificate("mx.example");
  TlsOptions server_side, client_side;
  server_side.chain_files = {certificate.path()};
  client_side.server = false;
  const auto server = *TlsContext::make(server_side), client = *TlsContext::make(client_side);
  on_loop([&] {
    const int sessions = tls ? 1000 : 5000;
    int open = 0;
    Acceptor acceptor(*listener, [&](int fd) {
      (void)Loop::current().spawn(Stack::session, [&, fd] {
        ++open;
        if (tls) {
          auto stream = make_stream(fd);
          if (!stream->start_tls(*server, "", Deadline::after(20s))) return;
          LineStream lines(std::move(stream));
          (void)lines.read_line(2048, Deadline::after(300s));
        } else {
          session(fd);
        }
      });
    });
    const long before = anonymous_kib();
    std::vector<int> fds;
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < sessions; ++i) {
      if (tls) {
        auto stream = connect(local_endpoint(*listener), {}, Deadline::after(10s));
        if (!(*stream)->start_tls(*client, "", Deadline::after(10s))) FAIL("handshake");
        streams.push_back(std::move(*stream));
        continue;
      }
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(local_endpoint(*listener).port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
      REQUIRE(::write(fd, "EHLO client.example\r\n", 21) == 21);
      fds.push_back(fd);
      while (open < i - 50) (void)sleep_until(Deadline::after(1ms));
    }
    (void)sleep_until(Deadline::after(200ms));
    CHECK(open == sessions);
    std::printf("%d idle %s: %.2f KiB each%s\n", sessions, tls ? "TLS connections" : "sessions",
                static_cast<double>(anonymous_kib() - before) / sessions,
                tls ? " (both ends)" : "");
    for (const int fd : fds) ::close(fd);
    streams.clear();
    (void)sleep_until(Deadline::after(200ms));
    std::printf("  after they are gone: %ld KiB more than before\n", anonymous_kib() - before);
  });
  ::close(*listener);
}

TEST_CASE("bench: DNS, cached and not", "[.bench]") {
  DnsResponder server;
  for (int i = 0; i < 5000; ++i) server.set_a("h" + std::to_string(i) + ".example", "192.0.2.1");
  const std::string conf = "/tmp/millrace-bench-resolv-" + std::to_string(getpid());
  std::ofstream(conf) << "nameserver " << server.forwarder() << "\n";
  on_loop([&] {
    const auto resolver = make_resolver({conf, ""});
    for (const char* what : {"uncached", "cached"}) {
      int next = 0, left = 200, right = 0;
      Event done;
      const double s = seconds_of([&] {
        for (int i = 0; i < 200; ++i) {
          (void)Loop::current().spawn(Stack::session, [&] {
            while (next < 5000) {
              const std::string name = "h" + std::to_string(next++) + ".example";
              if (resolver->query(name, DnsType::a, Deadline::after(10s)).status == DnsStatus::ok)
                ++right;
            }
            if (--left == 0) done.set();
          });
        }
        (void)done.wait(Deadline::never());
      });
      std::printf("dns %s: %.0f /s, %d right of 5000\n", what, 5000 / s, right);
    }
  });
  ::unlink(conf.c_str());
}
