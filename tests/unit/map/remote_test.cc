// socketmap and tcp tables against a server on loopback, and where look-ups may wait.
#include <catch2/catch.hpp>

#include <deque>

#include <unistd.h>

#include "core/map/remote.h"
#include "core/map/table.h"
#include "tests/support/on_loop.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;
using namespace std::chrono_literals;
using map::Lookup;

namespace {

// Answers each request (a read) with the next script, "" closing the connection; "<close>" after it closes, too.
struct Server {
  explicit Server(const std::string& path) : path(path) {
    const auto opened = net::listen_unix(path, 0600, 8);
    REQUIRE(opened);
    fd = *opened;
    acceptor = std::make_unique<net::Acceptor>(fd, [this](int client) {
      ++connections;
      REQUIRE(net::Loop::current().spawn(net::Stack::session, [this, client] { serve(client); }));
    });
  }
  ~Server() {
    acceptor.reset();
    ::close(fd);
  }
  void serve(int client) {
    const auto stream = net::make_stream(client);
    char bytes[1000];
    for (;;) {
      const auto got = stream->read_some(bytes, sizeof bytes, Deadline::after(5s));
      if (!got) return;
      requests += std::string(bytes, *got);
      if (replies.empty()) return;
      std::string reply = replies.front();
      replies.pop_front();
      if (reply == "<wait>") {
        (void)net::sleep_until(Deadline::after(50ms));
        reply = "4:OK w,";
      }
      const bool close = reply.ends_with("<close>");
      if (close) reply.resize(reply.size() - 7);
      if (!reply.empty() && !stream->write(reply, Deadline::after(5s))) return;
      if (close || reply.empty()) return;
    }
  }
  std::string path;
  int fd = -1, connections = 0;
  std::deque<std::string> replies;
  std::string requests;
  std::unique_ptr<net::Acceptor> acceptor;
};

std::string text(const Lookup& found) {
  if (!found) return "(error) " + found.error().context;
  return found->value_or("(none)");
}

struct World {
  test::TemporaryDirectory directory;
  std::string warnings;
  Server server{directory.path() + "/s"};
  map::TableSet tables{map::TableOptions{{}, [this](const std::string& line) { warnings += line + "\n"; }, directory.path(), {}, {}}};
  std::shared_ptr<map::Table> table = tables.open("socketmap:unix:s:m").value();
};

}  // namespace

TEST_CASE("socketmap: found, not found, error, on one connection", "[map][remote]") {
  test::on_loop_to_end([] {
    World w;
    w.server.replies = {"7:OK a, b,", "9:NOTFOUND ,", "8:TEMP bad,", "3:OK ,"};
    CHECK(text(w.table->find("Key")) == "a, b");
    CHECK(text(w.table->find("k2")) == "(none)");
    CHECK(text(w.table->find("k3")) == "(error) socketmap:unix:s:m: query error: server says: TEMP bad");
    CHECK(text(w.table->find("k4")) == "");
    CHECK(w.server.requests == "5:m Key,4:m k2,4:m k3,4:m k4,");   // keys as they are
    CHECK(w.server.connections == 1);
    CHECK(w.warnings == "table socketmap:unix:s:m lookup error: server says: TEMP bad\n");
    CHECK(w.table->is_pattern());
    CHECK(w.table->may_suspend());
  });
}

TEST_CASE("socketmap: a connection that ended is replaced once, a broken server is an error", "[map][remote]") {
  test::on_loop_to_end([] {
    World w;
    w.server.replies = {"4:OK a,", "", "4:OK b,"};
    CHECK(text(w.table->find("1")) == "a");
    CHECK(text(w.table->find("2")) == "b");
    CHECK(w.server.connections == 2);
    w.server.replies = {"", "", "", ""};
    CHECK(text(w.table->find("3")).substr(0, 7) == "(error)");
    w.server.replies = {"7:garbage,", "4:OK c,"};
    CHECK(text(w.table->find("4")).substr(0, 7) == "(error)");
    CHECK(text(w.table->find("5")) == "c");
    w.server.replies = {"4:OK d,4:OK e,", "4:OK f,"};   // out of step: neither is an answer
    CHECK(text(w.table->find("6")).substr(0, 7) == "(error)");
    CHECK(text(w.table->find("7")) == "f");
    w.server.replies = {"200000:"};
    CHECK(text(w.table->find("8")) == "(error) socketmap:unix:s:m: query error: the reply is too long");
  });
}

TEST_CASE("socketmap: look-ups of several fibers do not wait for each other", "[map][remote]") {
  test::on_loop_to_end([] {
    World w;
    w.server.replies = {"<wait>", "4:OK 2,"};
    std::string first;
    net::Event done;
    REQUIRE(net::Loop::current().spawn(net::Stack::session, [&] {
      first = text(w.table->find("1"));
      done.set();
    }));
    (void)net::sleep_until(Deadline::after(10ms));
    CHECK(text(w.table->find("2")) == "2");
    CHECK(first.empty());
    REQUIRE(done.wait(Deadline::after(5s)));
    CHECK(first == "w");
    CHECK(w.server.connections == 2);
  });
}

TEST_CASE("socketmap: nobody listens", "[map][remote]") {
  test::on_loop_to_end([] {
    map::TableSet tables({});
    const auto table = tables.open("socketmap:unix:/nonexistent/socket:m").value();
    CHECK(text(table->find("k")) == "(error) socketmap:unix:/nonexistent/socket:m: query error: No such file or directory");
  });
}

TEST_CASE("socketmap: without a loop a look-up blocks, on a loop outside of fibers it is an error", "[map][remote]") {
  const auto table = map::TableSet({}).open("socketmap:unix:/nonexistent/socket:m").value();
  CHECK(text(table->find("k")).ends_with("No such file or directory"));
  net::Loop loop;
  std::string outside;
  loop.post([&] {
    outside = text(table->find("k"));
    loop.stop();
  });
  loop.run();
  CHECK(outside == "(error) socketmap:unix:/nonexistent/socket:m: asked where nothing may wait");
}

TEST_CASE("tcp: a table over a TCP port", "[map][remote]") {
  test::on_loop_to_end([] {
    const auto fd = net::listen_tcp({"127.0.0.1", 0, false}, 8);
    REQUIRE(fd);
    const std::string port = std::to_string(net::local_endpoint(*fd).port);
    std::string requests;
    net::Acceptor acceptor(*fd, [&](int client) {
      REQUIRE(net::Loop::current().spawn(net::Stack::session, [&requests, client] {
        const auto stream = net::make_stream(client);
        char bytes[100];
        for (const char* reply : {"200 a%20b\n", "500 no\n", "400 busy\n", "what\n"}) {
          const auto got = stream->read_some(bytes, sizeof bytes, Deadline::after(5s));
          if (!got) return;
          requests.append(bytes, *got);
          if (!stream->write(reply, Deadline::after(5s))) return;
        }
      }));
    });
    {
      map::TableSet tables({});
      const auto table = tables.open("tcp:127.0.0.1:" + port).value();
      CHECK(text(table->find("x y")) == "a b");
      CHECK(text(table->find("2")) == "(none)");
      CHECK(text(table->find("3")) == "(error) tcp:127.0.0.1:" + port + ": query error: server says: busy");
      CHECK(text(table->find("4")) == "(error) tcp:127.0.0.1:" + port + ": query error: malformed reply: what");
      CHECK(requests == "get x%20y\nget 2\nget 3\nget 4\n");
    }
    ::close(*fd);
  });
}

TEST_CASE("remote names: what can be one", "[map][remote]") {
  const auto of = [](const char* name) {
    const auto parsed = map::parse_socketmap_name(name);
    return parsed ? parsed->server.to_text() + "|" + parsed->map_name : parsed.error().context;
  };
  CHECK(of("inet:127.0.0.1:9:m") == "127.0.0.1:9|m");
  CHECK(of("inet:[::1]:smtp:m") == "::1:smtp|m");
  CHECK(of("unix:private/x:m") == "private/x|m");
  for (const char* bad : {"", "m", "inet:127.0.0.1:9", "unix::m", "unix:/x:", "inet:h:0:m", "inet:h:99999:m", "inet::9:m", "tls:h:9:m"}) {
    CAPTURE(bad);
    CHECK(of(bad) == "socketmap requires server:socketmap argument");
  }
  CHECK(map::parse_tcp_name("h:9"));
  CHECK_FALSE(map::parse_tcp_name("h"));
  CHECK_FALSE(map::parse_tcp_name(":9"));
}
