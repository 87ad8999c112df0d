#include "core/net/stream.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/net/line_stream.h"
#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::net;
using namespace std::chrono_literals;
using millrace::test::on_loop;

namespace {

std::pair<int, int> socket_pair() {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {fds[0], fds[1]};
}

int spare_descriptors() {
  int open = 0;
  for (int fd = 0; fd < 512; ++fd) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

}  // namespace

TEST_CASE("net stream: reads what is there, waits for what is not, times out", "[net][stream]") {
  const auto [ours, theirs] = socket_pair();
  on_loop([ours = ours, theirs = theirs] {
    const auto stream = make_stream(ours);
    char data[16];
    CHECK_FALSE(stream->readable());
    Result<std::size_t> n = stream->read_some(data, sizeof data, Deadline::after(3ms));
    REQUIRE_FALSE(n);
    CHECK(n.error().code == Errc::timeout);
    REQUIRE(::write(theirs, "abc", 3) == 3);
    CHECK(stream->readable());
    n = stream->read_some(data, sizeof data, Deadline::after(5s));
    REQUIRE(n);
    CHECK(std::string_view(data, *n) == "abc");
    CHECK(Loop::current().spawn(Stack::session,
                                [theirs] { REQUIRE(::write(theirs, "later", 5) == 5); }));
    n = stream->read_some(data, sizeof data, Deadline::after(5s));
    REQUIRE(n);
    CHECK(std::string_view(data, *n) == "later");
    ::close(theirs);
    CHECK(stream->readable());
    n = stream->read_some(data, sizeof data, Deadline::after(5s));
    REQUIRE_FALSE(n);
    CHECK(n.error().code == Errc::closed);
    CHECK(stream->write("x", Deadline::after(5s)).error().code == Errc::closed);
    stream->close();
    stream->close();
    CHECK(stream->read_some(data, sizeof data, Deadline::after(5s)).error().code == Errc::closed);
  });
}

TEST_CASE("net stream: a write larger than the socket takes waits for the reader",
          "[net][stream]") {
  const auto [a, b] = socket_pair();
  on_loop([a = a, b = b] {
    const auto writer = make_stream(a);
    const std::string big(3000000, 'm');
    const Result<void> stuck = writer->write(big, Deadline::after(5ms));
    REQUIRE_FALSE(stuck);
    CHECK(stuck.error().code == Errc::timeout);
    std::size_t total = 0;
    Event ended;
    CHECK(Loop::current().spawn(Stack::session, [&, b] {
      const auto reader = make_stream(b);
      std::string data(65536, ' ');
      while (const auto n = reader->read_some(data.data(), data.size(), Deadline::after(5s)))
        total += *n;
      ended.set();
    }));
    CHECK(writer->write(big, Deadline::after(5s)));
    writer->close();
    CHECK(ended.wait(Deadline::after(5s)));
    CHECK(total > big.size());  // with what went out before the time-out
  });
}

TEST_CASE("net stream: the last data and the end come together", "[net][stream]") {
  on_loop([] {
    for (const bool wait_first : {false, true}) {
      const auto [ours, theirs] = socket_pair();
      const auto stream = make_stream(ours);
      char data[16];
      if (wait_first) CHECK_FALSE(stream->read_some(data, sizeof data, Deadline::after(1ms)));
      REQUIRE(::write(theirs, "bye", 3) == 3);
      ::close(theirs);
      if (wait_first) (void)sleep_until(Deadline::after(2ms));  // both in one edge
      const auto n = stream->read_some(data, sizeof data, Deadline::after(5s));
      REQUIRE(n);
      CHECK(std::string_view(data, *n) == "bye");
      const auto end = stream->read_some(data, sizeof data, Deadline::after(5s));
      REQUIRE_FALSE(end);
      CHECK(end.error().code == Errc::closed);
    }
  });
}

TEST_CASE("net stream: data that comes while the fiber is elsewhere is not missed",
          "[net][stream]") {
  const auto [ours, theirs] = socket_pair();
  on_loop([ours = ours, theirs = theirs] {
    const auto stream = make_stream(ours);
    char data[16];
    for (int i = 0; i < 20; ++i) {
      REQUIRE(::write(theirs, "x", 1) == 1);
      if (i % 2 == 0) (void)sleep_until(Deadline::after(1ms));  // the edge comes to nobody
      const auto n = stream->read_some(data, sizeof data, Deadline::after(5s));
      REQUIRE(n);
      CHECK(*n == 1);
    }
  });
  ::close(theirs);
}

TEST_CASE("net stream: cancel_all ends a read", "[net][stream]") {
  const auto [ours, theirs] = socket_pair();
  on_loop([ours = ours] {
    const auto stream = make_stream(ours);
    CHECK(Loop::current().spawn(Stack::session, [] { Loop::current().cancel_all(); }));
    char byte;
    CHECK(stream->read_some(&byte, 1, Deadline::never()).error().code == Errc::canceled);
    CHECK(stream->read_some(&byte, 1, Deadline::never()).error().code == Errc::canceled);
  });
  ::close(theirs);
}

TEST_CASE("net tcp: accepts, tells both ends, pauses and resumes", "[net][stream]") {
  const std::string address = GENERATE("127.0.0.1", "::1");
  const Result<int> listener = listen_tcp({address, 0, false}, 16);
  if (!listener && address == "::1") return;  // no IPv6 here
  REQUIRE(listener);
  const Endpoint at = local_endpoint(*listener);
  CHECK(at.address == address);
  on_loop([&] {
    int accepted = 0;
    Event came;
    Acceptor acceptor(*listener, [&](int fd) {
      CHECK_FALSE(in_fiber());
      ++accepted;
      REQUIRE(Loop::current().spawn(Stack::session, [fd, &address] {
        CHECK(remote_endpoint(fd).address == address);
        LineStream lines(make_stream(fd));
        while (const auto line = lines.read_line(100, Deadline::after(5s))) {
          lines.write("echo " + std::string(line->text) + "\r\n");
        }
      }));
      came.set();
    });
    auto client = connect(at, {}, Deadline::after(5s));
    REQUIRE(client);
    LineStream lines(std::move(*client));
    for (int i = 0; i < 100; ++i) {
      lines.write("hello\r\n");
      const auto line = lines.read_line(100, Deadline::after(5s));
      REQUIRE(line);
      REQUIRE(line->text == "echo hello");
    }
    acceptor.pause();
    came.reset();
    auto second = connect(at, {}, Deadline::after(5s));
    REQUIRE(second);
    CHECK_FALSE(came.wait(Deadline::after(10ms)));
    CHECK(accepted == 1);
    acceptor.resume();
    CHECK(came.wait(Deadline::after(5s)));
    CHECK(accepted == 2);
  });
  ::close(*listener);
}

TEST_CASE("net acceptor: two processes' worth of watchers share a socket", "[net][stream]") {
  const Result<int> listener = listen_tcp({"127.0.0.1", 0, false}, 64);
  REQUIRE(listener);
  const Endpoint at = local_endpoint(*listener);
  on_loop([&] {
    int first = 0, second = 0;
    Acceptor a(*listener, [&](int fd) { ++first, ::close(fd); });
    {
      Acceptor b(*listener, [&](int fd) { ++second, ::close(fd); });
      for (int i = 0; i < 30; ++i) CHECK(connect(at, {}, Deadline::after(5s)));
      (void)sleep_until(Deadline::after(10ms));
      CHECK(first + second == 30);
    }
    for (int i = 0; i < 30; ++i) CHECK(connect(at, {}, Deadline::after(5s)));
    (void)sleep_until(Deadline::after(10ms));
    CHECK(first + second == 60);
  });
  ::close(*listener);
}

TEST_CASE("net acceptor: out of descriptors, it waits a second and goes on", "[net][stream]") {
  const Result<int> listener = listen_tcp({"127.0.0.1", 0, false}, 64);
  REQUIRE(listener);
  const Endpoint at = local_endpoint(*listener);
  on_loop([&] {
    int accepted = 0;
    Event came;
    Acceptor acceptor(*listener, [&](int fd) { ++accepted, ::close(fd), came.set(); });
    acceptor.pause();
    auto client = connect(at, {}, Deadline::after(5s));
    REQUIRE(client);
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{0, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    acceptor.resume();
    CHECK_FALSE(came.wait(Deadline::after(100ms)));
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(came.wait(Deadline::after(10s)));
    CHECK(accepted == 1);
  });
  ::close(*listener);
}

TEST_CASE("net connect: refused, no address, bound source, unix path", "[net][stream]") {
  const Result<int> listener = listen_tcp({"127.0.0.1", 0, false}, 16);
  REQUIRE(listener);
  const Endpoint at = local_endpoint(*listener);
  const std::string path = "/tmp/millrace-net-test-" + std::to_string(getpid());
  const Result<int> local = listen_unix(path, 0600, 16);
  REQUIRE(local);
  on_loop([&] {
    CHECK(connect({path, 0, true}, {}, Deadline::after(5s)));
    CHECK(connect(at, {"127.0.0.2"}, Deadline::after(5s)));
    CHECK(connect(at, {"192.0.2.1"}, Deadline::after(5s)).error().code == Errc::io);
    CHECK(connect({"not an address", 25, false}, {}, Deadline::after(5s)).error().code ==
          Errc::config);
    ::close(*listener);
    const auto refused = connect(at, {}, Deadline::after(5s));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    CHECK(refused.error().context == "Connection refused");
  });
  ::close(*local);
  CHECK(listen_unix(path, 0600, 16));  // a stale socket is replaced
  ::unlink(path.c_str());
}

TEST_CASE("net endpoint: text", "[net][stream]") {
  CHECK(Endpoint{"192.0.2.1", 25, false}.to_text() == "192.0.2.1:25");
  CHECK(Endpoint{"2001:db8::1", 25, false}.to_text() == "[2001:db8::1]:25");
  CHECK(Endpoint{"/run/x", 0, true}.to_text() == "/run/x");
}

TEST_CASE("net messages: bytes and descriptors arrive together", "[net][message]") {
  const int before = spare_descriptors();
  const auto [a, b] = socket_pair();
  on_loop([a = a, b = b] {
    MessageSocket left(a), right(b);
    const auto [pass, keep] = socket_pair();
    const int fds[] = {pass, pass};
    CHECK(left.send("hello", fds, Deadline::after(5s)));
    std::string out;
    std::vector<int> got;
    CHECK(right.receive(out, got, Deadline::after(5s)));
    CHECK(out == "hello");
    REQUIRE(got.size() == 2);
    CHECK((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
    REQUIRE(::write(keep, "x", 1) == 1);
    char byte = 0;
    CHECK(::read(got[1], &byte, 1) == 1);
    CHECK(byte == 'x');
    for (const int fd : {pass, keep, got[0], got[1]}) ::close(fd);

    got.clear();
    out.clear();
    const Result<void> waited = right.receive(out, got, Deadline::after(3ms));
    REQUIRE_FALSE(waited);
    CHECK(waited.error().code == Errc::timeout);
    CHECK(left.send("", {}, Deadline::after(5s)).error().code == Errc::too_large);

    const std::string big(65536, 'b');
    CHECK(Loop::current().spawn(Stack::session,
                                [&] { CHECK(left.send(big, {}, Deadline::after(5s))); }));
    while (out.size() < big.size()) REQUIRE(right.receive(out, got, Deadline::after(5s)));
    CHECK(out == big);
    CHECK(got.empty());
  });
  CHECK(spare_descriptors() == before);
}

TEST_CASE("net messages: too many descriptors are closed and refused", "[net][message]") {
  const int before = spare_descriptors();
  const auto [a, b] = socket_pair();
  on_loop([a = a, b = b] {
    MessageSocket right(b);
    std::vector<int> many(40, a);
    alignas(cmsghdr) char control[CMSG_SPACE(40 * sizeof(int))] = {};
    char byte = 'x';
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(40 * sizeof(int));
    std::copy(many.begin(), many.end(), reinterpret_cast<int*>(CMSG_DATA(head)));
    REQUIRE(sendmsg(a, &message, 0) == 1);
    std::string out;
    std::vector<int> got;
    CHECK(right.receive(out, got, Deadline::after(5s)).error().code == Errc::protocol);
    CHECK(got.empty());
    ::close(a);
  });
  CHECK(spare_descriptors() == before);
}
