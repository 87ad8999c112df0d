// ETRN's requests: what is asked, how often, and what a daemon that is not there means.
#include "core/daemon/site_flush.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/queue/wire.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

namespace {

template <typename F>
void on_fiber(F body) {
  net::Loop loop;
  REQUIRE(loop.spawn(net::Stack::session, [&] {
    body();
    loop.stop();
  }));
  loop.run();
}

}  // namespace

TEST_CASE("site flush: each destination once in a while, few at a time", "[daemon]") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/control";
  const auto listening = net::listen_unix(path, 0600, 8);
  REQUIRE(listening);
  std::vector<std::string> asked;
  on_fiber([&] {
    net::Acceptor acceptor(*listening, [&](int fd) {
      REQUIRE(net::Loop::current().spawn(net::Stack::session, [&, fd] {
        const auto stream = net::make_stream(fd);
        char bytes[512];
        const auto got = stream->read_some(bytes, sizeof bytes, Deadline::after(std::chrono::seconds(5)));
        std::vector<std::string> request;
        const auto frame = queue::wire::decode(std::string_view(bytes, got ? *got : 0));
        if (queue::wire::parse_strings(frame.payload, request) && request.size() == 2) asked.push_back(request[1]);
        std::string answer;
        const bool bad = asked.back() == "bad.example";
        queue::wire::put_strings(bad ? queue::wire::Type::failed : queue::wire::Type::done, {}, answer);
        (void)stream->write(answer, Deadline::after(std::chrono::seconds(5)));
      }));
    });
    daemon::SiteFlush flush(path);
    CHECK(flush.ask("Dest.example"));
    CHECK(flush.ask("dest.EXAMPLE"));
    CHECK_FALSE(flush.ask("bad.example"));   // refused: not remembered
    for (int i = 0; i < 7; ++i) CHECK(flush.ask("d" + std::to_string(i) + ".example"));
    CHECK_FALSE(flush.ask("one-more.example"));
    CHECK(flush.ask("dest.example"));
  });
  CHECK(asked.size() == 9);
  CHECK(asked.front() == "dest.example");
  ::close(*listening);
}

TEST_CASE("site flush: nobody there", "[daemon]") {
  const test::TemporaryDirectory directory;
  on_fiber([&] { CHECK_FALSE(daemon::SiteFlush(directory.path() + "/none").ask("dest.example")); });
}
